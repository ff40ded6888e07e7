"""Compiles every template of the panel: a typing error in a tag is found here, not by a visitor."""

import sys
from pathlib import Path

import django
from django.template import TemplateSyntaxError
from django.template.loader import get_template

TEMPLATES = Path(__file__).parents[2] / "src/devflow/web/templates"


def main() -> int:
    django.setup()
    errors = [error for path in sorted(TEMPLATES.rglob("*.*")) if path.is_file() and (error := compile_error(path))]
    print("\n".join(errors))
    return 1 if errors else 0


def compile_error(path: Path) -> str | None:
    try:
        get_template(str(path.relative_to(TEMPLATES)))
    except TemplateSyntaxError as error:
        return f"{path}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
