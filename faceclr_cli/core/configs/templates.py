"""Options that combine several pictures of a person to a template."""

from __future__ import annotations

from typing import Any, Literal

from faceclr_cli.core.configs.fields import option

TemplateMethod = Literal["mean", "max", "quality"]

TEMPLATES = "Templates"


def template_option() -> Any:
    """Declares the option `--template`."""
    return option(
        None,
        panel=TEMPLATES,
        help="Compare templates, several pictures of one person each, instead of pictures; 'mean': by their mean "
        "embeddings; 'quality': by means weighted by quality; 'max': by their most similar pictures",
    )


def template_list_option() -> Any:
    """Declares the option `--template-list`."""
    return option(
        (),
        metavar="FILE",
        panel=TEMPLATES,
        help="Pictures of each template: CSV 'path,template[,media][,person]', or IJB's lists (default: each folder is "
        "a template); may be repeated",
    )
