from __future__ import annotations

import torch

from faceclr_cli.core.views import head_shape

CPU = torch.device("cpu")


def test_the_head_is_symmetrical_and_the_nose_is_in_front() -> None:
    places = head_shape.pixel_places(112, CPU)
    depth = head_shape.depth(places.expand(112, 112), places[:, None].expand(112, 112))
    torch.testing.assert_close(depth, depth.flip(1))
    row, column = divmod(int(depth.argmax()), 112)
    nose = (0.5 * (torch.tensor([*head_shape.LANDMARKS[2]]) + 1) * 112).tolist()
    assert abs(column + 0.5 - nose[0]) <= 1 and abs(row + 0.5 - nose[1]) <= 3


def test_landmarks_are_those_of_the_template() -> None:
    """The template in pixels of a crop of 112, as insightface published it."""
    template = torch.tensor(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    torch.testing.assert_close(torch.tensor(head_shape.LANDMARKS), (2 * template + 1) / 112 - 1, atol=0.01, rtol=0)


def test_normals_are_those_of_the_surface() -> None:
    """Against the gradient of automatic differentiation."""
    normals, weights = head_shape.normals(56, CPU)
    places = head_shape.pixel_places(56, CPU)
    x = places.expand(56, 56).clone().requires_grad_()
    y = places[:, None].expand(56, 56).clone().requires_grad_()
    head_shape.depth(x, y).sum().backward()
    assert x.grad is not None and y.grad is not None
    expected = torch.nn.functional.normalize(torch.stack([-x.grad, -y.grad, torch.ones_like(x)]), dim=0)
    face = weights > 0.9
    assert face.float().mean() > 0.4
    assert (normals * expected).sum(dim=0)[face].min() > 0.995
    assert weights[28, 28] == 1 and weights[0, 0] == 0
