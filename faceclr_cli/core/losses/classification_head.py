"""Telling people apart: a score for each person, a margin on the true one, cross-entropy."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather, all_gather_labels, sum_over_processes, world_size
from faceclr_cli.core.losses.margins import Quality, adaface, arcface, cosface
from faceclr_cli.core.losses.parameter_shards import own_rows

Head = Literal["softmax", "cosface", "arcface", "adaface"]

_SCORES = 1 << 24  # Looked at together where nothing is learned: 64 MiB.


class Classifier(nn.Module):
    """One vector for each person, against which embeddings are scored.

    `softmax` scores by the inner product and a bias. The others score by the cosine times a scale, with a margin on the
    score of the true person; see `margins`.

    All processes together compute one softmax over the batch of all. Where the people are divided (`sharded`), each
    process holds the vectors of its share of them and scores all embeddings of all processes against these: memory and
    time for a million people are divided by the number of processes (as ArcFace's authors do: Deng et al. 2019, arXiv
    1801.07698, section 3). Only maxima and sums of the softmax, and the embeddings, travel.

    With `share` below 1, the softmax is over the people of the batch and over so many others, drawn anew at each step,
    that they are this share of all together (partial FC: An et al. 2021, arXiv 2010.05222).

    Args:
        dim: Length of an embedding.
        people: How many.
        head: Which scores.
        scale: What cosines are multiplied by.
        share: Of the people that each step compares with; above 0.
        sharded: Divide the people among the processes.

    Examples:
        >>> telling_apart = Classifier(dim=2, people=2, head="arcface")
        >>> _ = telling_apart.weight.data.copy_(torch.eye(2))
        >>> loss, metrics = telling_apart(torch.eye(2), torch.tensor([0, 1]), margin=0.5)
        >>> metrics
        {'accuracy': tensor(1.)}
    """

    def __init__(
        self, dim: int, people: int, head: Head, *, scale: float = 30.0, share: float = 1.0, sharded: bool = False
    ) -> None:
        super().__init__()
        rows = own_rows(people) if sharded else slice(0, people)
        self.people, self.head, self.scale, self.share, self.sharded = people, head, scale, share, sharded
        self.first = rows.start
        """The first person whose vector is here."""
        count = rows.stop - rows.start
        self.weight = nn.Parameter(torch.empty(count, dim))
        # Drawn for all people, so that each has the same vector however they are divided.
        full = torch.empty(people, dim)
        nn.init.normal_(full, std=1 / math.sqrt(dim))
        with torch.no_grad():
            self.weight.copy_(full[rows])
        self.bias = nn.Parameter(torch.zeros(count)) if head == "softmax" else None
        self.quality = Quality() if head == "adaface" else None

    def forward(
        self, embeddings: Tensor, labels: Tensor, margin: float, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross-entropy of the true people, averaged over the batch of all processes.

        Args:
            embeddings: Of any length. Shape: (N, D), the same on all processes.
            labels: The person of each, 0 to `people` - 1. Shape: (N,).
            margin: On the scores of the true people; see `margins`. Not for `softmax`.
            generator: Draws the people to compare with; the same on all processes. Not needed if `share` is 1.

        Returns:
            The loss, a scalar whose average over processes has the gradient of one process with the whole batch; and
            `accuracy`, the share of embeddings of which the true person has a better score than all others, before the
            margin, among the people compared with.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            features = embeddings.to(self.weight.dtype)
            every = all_gather_labels(labels)
            quality = None if self.quality is None else self.quality(features)
            if self.sharded:
                features, labels = all_gather(features), every
                quality = None if quality is None else all_gather_labels(quality)
            rows = self._compared(every, generator)
            columns = self._columns(labels, rows)
            bias = None if self.bias is None else self._taken(self.bias, rows)
            scores = self._scores(features, self._taken(self.weight, rows), bias)
            here = (columns >= 0).nonzero().squeeze(1)
            with torch.no_grad():
                better = self._better(scores, self._everywhere(scores, here, columns[here]))
                accuracy = (better == 0).float().mean()
            scores = self._with_margin(scores, here, columns[here], margin, quality)
            if not self.sharded:
                return F.cross_entropy(scores, columns), {"accuracy": accuracy}
            return self._divided_loss(scores, here, columns[here]), {"accuracy": accuracy}

    @torch.no_grad()
    def judge(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """How well people are told apart, by scores without a margin, among all people. All processes do it together.

        Args:
            embeddings: The same ones on all processes. Shape: (N, D), N > 0.
            labels: The person of each, 0 to `people` - 1. Shape: (N,).

        Returns:
            How many other people have a score that is at least as good as that of the true one, shape (N,), 0 where
            the true one is the best; and the mean cross-entropy, a scalar. A tie counts against: embeddings that are
            all zero tell nobody apart. Where there is no number, all people are better.
        """
        places, losses = [], []
        with torch.autocast(embeddings.device.type, enabled=False):
            size = max(1, _SCORES // self.people)
            for start in range(0, len(embeddings), size):
                block = slice(start, start + size)
                scores = self._scores(embeddings[block].to(self.weight.dtype), self.weight, self.bias)
                if self.head != "softmax":
                    scores *= self.scale
                rows = labels[block] - self.first
                here = ((rows >= 0) & (rows < len(self.weight))).nonzero().squeeze(1)
                true = self._everywhere(scores, here, rows[here])
                places.append(self._better(scores, true))
                losses.append(self._normalizer(scores) - true)
        return torch.cat(places), torch.cat(losses).mean()

    def blind_loss(self, margin: float) -> float:
        """The cross-entropy where all people have the same score, of embeddings at right angles to all their vectors.

        Args:
            margin: As for `forward`. AdaFace's is that of a face of mean quality.
        """
        people = max(2, round(self.people * self.share))
        nothing = torch.zeros(1)
        true = float(self._margined(nothing, margin, nothing)) * (1.0 if self.head == "softmax" else self.scale)
        return math.log(people - 1 + math.exp(true)) - true

    def _compared(self, labels: Tensor, generator: torch.Generator | None) -> Tensor:
        """Rows of the people here that this step compares with, sorted."""
        count = len(self.weight)
        if self.share >= 1:
            return torch.arange(count, device=labels.device)
        # Those of the batch, then others in an order drawn for all people, the same however they are divided.
        own = torch.unique(labels)
        order = torch.rand(self.people, generator=generator).to(labels.device)
        order[own] = -1
        chosen = order.topk(max(len(own), round(self.share * self.people)), largest=False).indices - self.first
        return chosen[(chosen >= 0) & (chosen < count)].sort().values

    def _columns(self, labels: Tensor, rows: Tensor) -> Tensor:
        """The column of each embedding's person, -1 where another process has it."""
        place = torch.full((len(self.weight),), -1, device=labels.device)
        place[rows] = torch.arange(len(rows), device=labels.device)
        inside = (labels >= self.first) & (labels < self.first + len(self.weight))
        return torch.where(inside, place[(labels - self.first).clamp(0, len(self.weight) - 1)], -1)

    def _scores(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None:
            return F.linear(features, weight, bias)
        return F.linear(F.normalize(features, dim=1), F.normalize(weight, dim=1))

    def _taken(self, parameter: Tensor, rows: Tensor) -> Tensor:
        taken = parameter if len(rows) == len(parameter) else parameter[rows]
        if not self.sharded:
            return taken
        # DDP does not average the gradient of what is on one process alone.
        part = taken / world_size()[1]
        return part + (taken - part).detach()

    def _with_margin(
        self, scores: Tensor, here: Tensor, columns: Tensor, margin: float, quality: Tensor | None
    ) -> Tensor:
        if self.head == "softmax":
            return scores
        changed = self._margined(scores[here, columns], margin, None if quality is None else quality[here])
        return self.scale * scores.index_put((here, columns), changed)

    def _margined(self, cosines: Tensor, margin: float, quality: Tensor | None) -> Tensor:
        match self.head:
            case "cosface":
                return cosface(cosines, margin)
            case "arcface":
                return arcface(cosines, margin)
            case "adaface":
                assert quality is not None
                return adaface(cosines, margin, quality)
        return cosines

    def _divided_loss(self, scores: Tensor, here: Tensor, columns: Tensor) -> Tensor:
        """Cross-entropy of a softmax over the columns of all processes."""
        with torch.no_grad():
            normalizer = self._normalizer(scores)
            value = (normalizer - self._everywhere(scores, here, columns)).mean()
            gradient = (scores - normalizer[:, None]).exp()
            gradient[here, columns] -= 1
            gradient /= len(scores)
        slope = (gradient * scores).sum() * world_size()[1]
        return value + slope - slope.detach()

    def _normalizer(self, scores: Tensor) -> Tensor:
        """Logarithm of the sum of the exponentials of the scores of all people. Shape: (N, people here) -> (N,)."""
        # None of the people compared with may be here, and the maximum of no scores is an error.
        most = scores.amax(dim=1) if scores.shape[1] else scores.new_full((len(scores),), -torch.inf)
        if self.sharded:
            dist.all_reduce(most, dist.ReduceOp.MAX)
        return most + self._summed((scores - most[:, None]).exp().sum(dim=1)).log()

    def _everywhere(self, scores: Tensor, here: Tensor, columns: Tensor) -> Tensor:
        """The scores of the true people, wherever these are. Shape: (N,)."""
        true = scores.new_zeros(len(scores))
        true[here] = scores[here, columns]
        return self._summed(true)

    def _summed(self, x: Tensor) -> Tensor:
        return sum_over_processes(x) if self.sharded else x

    def _better(self, scores: Tensor, true: Tensor) -> Tensor:
        """How many others score at least as well as the true person; all, where there is no number. Shape: (N,)."""
        others = self._summed((~(scores < true[:, None])).sum(dim=1)) - 1
        return torch.where(true.isnan(), self.people, others)
