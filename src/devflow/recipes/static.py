"""Static sites, with a build where there is a package.json."""

from __future__ import annotations

from devflow.engine.task import Option, Phase, Recipe, Task, Tree
from devflow.recipes import javascript, package_json
from devflow.recipes.reuse import BUILD_INPUTS

_OTHERS = frozenset({"package.json", "composer.json", "requirements.txt", "pyproject.toml", "manage.py"})
_PART = r"\.?[A-Za-z0-9_][A-Za-z0-9_.-]*"


def detect(tree: Tree) -> bool:
    """A page at the top, only a build, or nothing that any recipe knows."""
    if package_json.runs_a_server(tree):
        return False
    return has_pages(tree) or not tree.files & _OTHERS


def has_pages(tree: Tree) -> bool:
    """A page at the top, or only a build."""
    return "index.html" in tree.files or package_json.is_only_built(tree)


CHECK_OUTPUT = Task(
    name="check output",
    phase=Phase.PROTECT,
    command="""\
if [ ! -d "$option_output" ]; then
  echo "The build made no folder $option_output. Folders of the release: $(find . -mindepth 1 -maxdepth 1 -type d ! -name node_modules | sort | tr '\\n' ' ')"
  echo "There is no folder $option_output in the release: correct the output folder in the settings of the environment, or the build."
  exit 1
fi
[ -n "$(ls -A "$option_output")" ] || { echo "The folder $option_output is empty: there is nothing to serve."; exit 1; }
""",
    condition='[ -n "${option_output:-}" ]',
    undo="changes nothing",
    summary="the folder that is served is there, and not empty",
)

RECIPE = Recipe(
    name="static",
    title="Static site",
    detect=detect,
    tasks=(*javascript.INSTALL, *javascript.BUILD, CHECK_OUTPUT),
    options=(
        Option(
            name="output",
            title="Output folder",
            help="The folder of the release that the web server serves, like dist. Without it the site does not go live. "
            "Empty: the release itself, unchecked.",
            pattern=rf"({_PART}(/{_PART})*)?",
        ),
        BUILD_INPUTS,
    ),
)
