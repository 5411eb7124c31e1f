"""The classification head: softmax or margin cross-entropy over people, optionally sharded over processes."""

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

_SCORES = 1 << 24  # Scores that `evaluate` computes at a time: 64 MiB.


class Classifier(nn.Module):
    """A linear classifier over people, with one weight vector for each person.

    With `softmax`, a score is the inner product plus a bias. The other heads multiply the cosine by a scale, with a
    margin on the score of the true person; see `margins`.

    All processes together compute one softmax over the global batch. If the head is `sharded`, each process holds the
    weight vectors of some people and scores the embeddings of all processes against them. This divides memory and time
    for a million people by the number of processes (Deng et al. 2019, ArcFace, arXiv 1801.07698, section 3). Processes
    exchange the embeddings and the maxima and sums of the softmax only.

    With `share` below 1, the softmax is computed over the people in the batch plus other people sampled at each step,
    so that together they make up this share of all people (Partial FC: An et al. 2021, arXiv 2010.05222).

    With `robust`, the softmax of an embedding leaves out other people whose weight vector has a higher cosine with it,
    since its label is then likely to be wrong. This is the inter-class filtering of insightface's arcface_torch, which
    sets their scores to 0 instead.

    Args:
        dim: Length of an embedding.
        people: Number of people.
        head: How scores are computed.
        scale: Factor of the cosines.
        share: Share of the people in the softmax of a step; above 0, at most 1.
        sharded: Shard the people over the processes.
        robust: Cosine above which other people are left out; None to keep all. Not for `softmax`.

    Examples:
        >>> classifier = Classifier(dim=2, people=2, head="arcface")
        >>> _ = classifier.weight.data.copy_(torch.eye(2))
        >>> loss, metrics = classifier(torch.eye(2), torch.tensor([0, 1]), margin=0.5)
        >>> metrics
        {'accuracy': tensor(1.)}
    """

    def __init__(
        self,
        dim: int,
        people: int,
        head: Head,
        *,
        scale: float = 30.0,
        share: float = 1.0,
        sharded: bool = False,
        robust: float | None = None,
    ) -> None:
        super().__init__()
        self.robust = robust
        rows = own_rows(people) if sharded else slice(0, people)
        self.people, self.head, self.scale, self.share, self.sharded = people, head, scale, share, sharded
        self.first = rows.start
        """The first person whose weight vector this process holds."""
        count = rows.stop - rows.start
        self.weight = nn.Parameter(torch.empty(count, dim))
        # Drawn for all people, so that the initial weights do not depend on the sharding.
        full = torch.empty(people, dim)
        nn.init.normal_(full, std=1 / math.sqrt(dim))
        with torch.no_grad():
            self.weight.copy_(full[rows])
        self.bias = nn.Parameter(torch.zeros(count)) if head == "softmax" else None
        self.quality = Quality() if head == "adaface" else None

    def forward(
        self, embeddings: Tensor, labels: Tensor, margin: float, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the cross-entropy, averaged over the global batch.

        Args:
            embeddings: Not normalized. Shape: (N, D), the same on all processes.
            labels: The person of each embedding, 0 to `people` - 1. Shape: (N,).
            margin: Margin on the scores of the true people; see `margins`. Ignored by `softmax`.
            generator: Samples people if `share` is below 1; must be in the same state on all processes.

        Returns:
            The loss, a scalar whose average over processes has the gradient of one process with the global batch; and
            the metric `accuracy`: the share of embeddings whose true person scores higher, before the margin, than all
            other people, including those that `robust` leaves out.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            features = embeddings.to(self.weight.dtype)
            # Processes without a share or shards may have different numbers of embeddings.
            is_joint = self.sharded or self.share < 1
            all_labels = all_gather_labels(labels) if is_joint else labels
            quality = None if self.quality is None else self.quality(features)
            if self.sharded:
                features, labels = all_gather(features), all_labels
                quality = None if quality is None else all_gather_labels(quality)
            rows = self._sampled_rows(all_labels, generator)
            columns = self._columns(labels, rows)
            bias = None if self.bias is None else self._select_rows(self.bias, rows)
            scores = self._scores(features, self._select_rows(self.weight, rows), bias)
            local = (columns >= 0).nonzero().squeeze(1)
            with torch.no_grad():
                better = self._count_better(scores, self._true_scores(scores, local, columns[local]))
                accuracy = (better == 0).float().mean()
                too_close = self._too_close(scores, local, columns[local])
            scores = self._add_margin(scores, local, columns[local], margin, quality)
            if too_close is not None:
                # Finite, because the gradient of the sharded loss multiplies it by a probability of 0.
                scores = scores.masked_fill(too_close, torch.finfo(scores.dtype).min)
            if not self.sharded:
                return F.cross_entropy(scores, columns), {"accuracy": accuracy}
            return self._sharded_loss(scores, local, columns[local]), {"accuracy": accuracy}

    @torch.no_grad()
    def restart(self, weights: Tensor) -> None:
        """Replaces the people by others, no more than the number of rows. Only if the head is not sharded.

        Args:
            weights: The first weight vectors of the new people. Shape: (people, D).
        """
        self.people = len(weights)
        self.weight[: self.people] = weights.to(self.weight)

    @torch.no_grad()
    def imprint(self, embeddings: Tensor, labels: Tensor) -> None:
        """Replaces the weight vectors by the mean directions of embeddings; people without embeddings keep theirs.

        With `softmax`, their length makes the first scores the cosines times the scale.

        Args:
            embeddings: Not normalized, the same values on all processes. Shape: (N, D).
            labels: The person of each embedding, 0 to `people` - 1. Shape: (N,).
        """
        rows = labels.to(embeddings.device) - self.first
        inside = (rows >= 0) & (rows < len(self.weight))
        kept = embeddings[inside].to(self.weight.dtype)
        means = torch.zeros_like(self.weight).index_add(0, rows[inside], F.normalize(kept, dim=1))
        length = self.scale / float(embeddings.norm(dim=1).mean()) if self.head == "softmax" else 1.0
        norms = means.norm(dim=1, keepdim=True)
        self.weight.copy_(torch.where(norms > 0, length * means / norms.clamp_min(1e-12), self.weight))

    @torch.no_grad()
    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Ranks the true people among all people, without a margin. All processes must call it.

        Args:
            embeddings: The same values on all processes. Shape: (N, D), N > 0.
            labels: The person of each embedding, 0 to `people` - 1. Shape: (N,).

        Returns:
            The number of other people who score at least as high as the true person, 0 if the true person scores
            highest, shape (N,); and the mean cross-entropy, a scalar. Ties count as errors, and so does NaN: all
            people then rank above the true person.
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
                local = ((rows >= 0) & (rows < len(self.weight))).nonzero().squeeze(1)
                true = self._true_scores(scores, local, rows[local])
                places.append(self._count_better(scores, true))
                losses.append(self._log_partition(scores) - true)
        return torch.cat(places), torch.cat(losses).mean()

    def collapsed_loss(self, margin: float) -> float:
        """Returns the cross-entropy of an embedding that is orthogonal to the weight vectors of all people.

        Args:
            margin: As for `forward`; AdaFace's margin is computed for a face of mean quality.
        """
        people = max(2, round(self.people * self.share))
        nothing = torch.zeros(1)
        true = float(self._apply_margin(nothing, margin, nothing)) * (1.0 if self.head == "softmax" else self.scale)
        return math.log(people - 1 + math.exp(true)) - true

    def _sampled_rows(self, labels: Tensor, generator: torch.Generator | None) -> Tensor:
        """Returns the local rows of the people in the softmax of this step, sorted."""
        count = len(self.weight)
        if self.share >= 1:
            return torch.arange(min(count, self.people), device=labels.device)
        # The people in the batch, then others in random order. The order is drawn for all people, so that the sample
        # does not depend on the sharding.
        own = torch.unique(labels)
        order = torch.rand(self.people, generator=generator).to(labels.device)
        order[own] = -1
        chosen = order.topk(max(len(own), round(self.share * self.people)), largest=False).indices - self.first
        return chosen[(chosen >= 0) & (chosen < count)].sort().values

    def _columns(self, labels: Tensor, rows: Tensor) -> Tensor:
        """Returns the column of each embedding's person, -1 if another process holds it."""
        place = torch.full((len(self.weight),), -1, device=labels.device)
        place[rows] = torch.arange(len(rows), device=labels.device)
        inside = (labels >= self.first) & (labels < self.first + len(self.weight))
        return torch.where(inside, place[(labels - self.first).clamp(0, len(self.weight) - 1)], -1)

    def _scores(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None:
            return F.linear(features, weight, bias)
        return F.linear(F.normalize(features, dim=1), F.normalize(weight, dim=1))

    def _select_rows(self, parameter: Tensor, rows: Tensor) -> Tensor:
        selected = parameter if len(rows) == len(parameter) else parameter[rows]
        if not self.sharded:
            return selected
        # DDP does not average the gradients of sharded parameters, so the gradient is divided here.
        part = selected / world_size()[1]
        return part + (selected - part).detach()

    def _too_close(self, scores: Tensor, local: Tensor, columns: Tensor) -> Tensor | None:
        """Returns the mask of other people with a cosine above `robust`. Shape: (N, local people)."""
        if self.robust is None:
            return None
        return (scores > self.robust).index_put((local, columns), torch.tensor(False, device=scores.device))

    def _add_margin(
        self, scores: Tensor, local: Tensor, columns: Tensor, margin: float, quality: Tensor | None
    ) -> Tensor:
        if self.head == "softmax":
            return scores
        changed = self._apply_margin(scores[local, columns], margin, None if quality is None else quality[local])
        return self.scale * scores.index_put((local, columns), changed)

    def _apply_margin(self, cosines: Tensor, margin: float, quality: Tensor | None) -> Tensor:
        match self.head:
            case "cosface":
                return cosface(cosines, margin)
            case "arcface":
                return arcface(cosines, margin)
            case "adaface":
                assert quality is not None
                return adaface(cosines, margin, quality)
        return cosines

    def _sharded_loss(self, scores: Tensor, local: Tensor, columns: Tensor) -> Tensor:
        """Computes the cross-entropy of a softmax over the columns of all processes."""
        with torch.no_grad():
            normalizer = self._log_partition(scores)
            value = (normalizer - self._true_scores(scores, local, columns)).mean()
            gradient = (scores - normalizer[:, None]).exp()
            gradient[local, columns] -= 1
            gradient /= len(scores)
        slope = (gradient * scores).sum() * world_size()[1]
        return value + slope - slope.detach()

    def _log_partition(self, scores: Tensor) -> Tensor:
        """Computes the log-sum-exp of the scores of all people. Shape: (N, local people) -> (N,)."""
        # This process may hold none of the sampled people, and the maximum of an empty tensor is an error.
        most = scores.amax(dim=1) if scores.shape[1] else scores.new_full((len(scores),), -torch.inf)
        if self.sharded:
            dist.all_reduce(most, dist.ReduceOp.MAX)
        return most + self._sum((scores - most[:, None]).exp().sum(dim=1)).log()

    def _true_scores(self, scores: Tensor, local: Tensor, columns: Tensor) -> Tensor:
        """Returns the scores of the true people, gathered from the processes that hold them. Shape: (N,)."""
        true = scores.new_zeros(len(scores))
        true[local] = scores[local, columns]
        return self._sum(true)

    def _sum(self, x: Tensor) -> Tensor:
        return sum_over_processes(x) if self.sharded else x

    def _count_better(self, scores: Tensor, true: Tensor) -> Tensor:
        """Counts the other people who score at least as high as the true person; all of them for NaN. Shape: (N,)."""
        others = self._sum((~(scores < true[:, None])).sum(dim=1)) - 1
        return torch.where(true.isnan(), self.people, others)
