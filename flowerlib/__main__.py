"""The command line: what make and snakemake call is what a student types. No command imports TensorFlow itself."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from flowerlib.errors import FlowerlibError

app = typer.Typer(help="The flower report bundle: run recipes, export them, build the report.", no_args_is_help=True)
Profile = Annotated[str, typer.Option(help="smoke, laptop or full")]


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="oxford102, flowers5 or all")] = "all",
    weights: Annotated[str, typer.Option(help="ImageNet weights of a network instead, such as vgg16")] = "",
) -> None:
    """Fetch the photographs, or a network's ImageNet weights, and verify them."""
    from flowerlib import fetch as fetching
    from flowerlib import weights as weight_files

    if weights:
        print(f"{weights}: {weight_files.fetch(weights)}")
        return
    for dataset in fetching.DATASETS if name == "all" else [name]:
        for file, path in fetching.fetch_dataset(dataset).items():
            print(f"{file}: {path}")


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="a recipe, or a run such as shen-fine@seed=2")],
    profile: Profile = "smoke",
    force: Annotated[bool, typer.Option(help="run although nothing changed")] = False,
) -> None:
    """Run one recipe's notebook and export its figures and numbers."""
    from flowerlib import pipeline

    folder = pipeline.run(recipe, profile, force=force)
    print(f"{recipe}: {folder}")


@app.command()
def export(recipe: str, profile: Profile = "smoke") -> None:
    """Export a run's executed notebook again."""
    from flowerlib import pipeline

    notebook = pipeline.executed_notebook(recipe, profile)
    if not notebook.exists():
        raise FlowerlibError(f"{recipe} was not run: python -m flowerlib run {recipe} --profile {profile}")
    pipeline.export(notebook, pipeline.record_folder(recipe, profile))


@app.command()
def merge(profile: Profile = "smoke") -> None:
    """Write results.json, the one list of numbers, from the records of a profile's runs."""
    from flowerlib import pipeline, tracing

    tracing.merge(profile, pipeline.build_folder(profile) / "results.json")


@app.command()
def status(profile: Profile = "laptop") -> None:
    """Say what would run, why, and the minutes to expect."""
    from flowerlib import pipeline, recipes

    found = pipeline.states(profile)
    width = max([30, *(len(state.run) for state in found)]) + 2
    for state in found:
        word = "done" if state.done else "left out" if state.blocked else "to do"
        minutes = "" if state.done or state.blocked else f"  about {state.minutes:g} min"
        print(f"{word:9}{state.run.ljust(width)}{state.reason}{minutes}".rstrip())
    waiting = [state for state in found if not state.done and not state.blocked]
    total = sum(state.minutes for state in waiting)
    verdict = f"{len(waiting)} to do, about {total:g} minutes" if waiting else "nothing to do"
    blocked = sum(state.blocked for state in found)
    print(f"{profile} ({recipes.title(profile)}): {verdict}" + (f"; {blocked} left out" if blocked else ""))


@app.command()
def report(
    profile: Profile = "smoke",
    from_figures: Annotated[bool, typer.Option(help="typeset the committed figures, run nothing")] = False,
    show_stale: Annotated[bool, typer.Option(help="with --from-figures: mark what is stale, do not stop")] = False,
) -> None:
    """Run what is stale and build the PDF."""
    from flowerlib import report as reporting

    print(reporting.make_from_figures(show_stale=show_stale) if from_figures else reporting.make(profile))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def sweep(
    context: typer.Context,
    recipe: str,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value,value, as often as you like")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="of each combination, from 1")] = 1,
    metric: Annotated[str, typer.Option(help="a number that the runs export")] = "test/accuracy",
    profile: Profile = "smoke",
) -> None:
    """Run every combination of values with every seed; other options go to snakemake (-j 8 --executor slurm)."""
    from flowerlib import batch

    folder = batch.make(recipe, batch.parse(settings or []), seeds, profile, metric, context.args)
    if (folder / "table.csv").exists():
        print((folder / "table.csv").read_text(encoding="utf-8"), end="")
    print(folder)


@app.command()
def verify() -> None:
    """Check the committed figures against today's recipes, code and data."""
    from flowerlib import published

    found = published.findings()
    for each in found:
        print(f"{'stale' if each.stale else 'holds':9}{each.run.ljust(50)}{each.stale}".rstrip())
    stale = sum(bool(each.stale) for each in found)
    if stale:
        raise FlowerlibError(f"{stale} of {len(found)} committed runs are stale: run them again and publish")
    print(f"all {len(found)} committed runs hold")


@app.command()
def diff(one: str, other: str, profile: Profile = "laptop") -> None:
    """Print two runs' numbers side by side."""
    from flowerlib import published

    print(published.difference(one, other, profile).to_string(index=False, na_rep="", float_format="{:.4f}".format))


@app.command()
def publish(
    profile: Profile = "laptop",
    partial: Annotated[bool, typer.Option(help="publish what is done, start no training")] = False,
) -> None:
    """Put a profile's figures, numbers and PDF in place, to be committed."""
    from flowerlib import publishing

    publishing.publish(profile, partly=partial)


@app.command()
def exercises(
    folder: Annotated[Path, typer.Option(help="where the copies go")] = Path("build/exercises"),
) -> None:
    """Write copies of the notebooks without the answers of their exercises."""
    from flowerlib import exercises as copies

    for path in copies.write(folder):
        print(path)


@app.command()
def gallery(profile: Profile = "smoke") -> None:
    """Write all executed notebooks as HTML, with an index of thumbnails."""
    from flowerlib import gallery as pages

    print(pages.write(profile))


@app.command()
def predict(
    photograph: Annotated[Path, typer.Argument(help="a JPEG or PNG")],
    model: Annotated[Path, typer.Option(help="a .tflite file that 04_quantization exported")] = Path("flower.tflite"),
    top: Annotated[int, typer.Option(min=1, help="how many names")] = 5,
) -> None:
    """Name the flower on a photograph."""
    from flowerlib import lite, photo

    known = lite.load(model)
    picture = photo.read(photograph, known.about["stored_px"], known.about["resize"])
    [chances] = known.probabilities(photo.fit(picture, known.about["size_px"])[None])
    for place in chances.argsort()[::-1][:top]:
        print(f"{chances[place]:7.1%}  {known.names[place]}")


@app.command()
def sample(
    recipe: Annotated[str, typer.Option(help="a run of recipes/generation.yml")] = "ours-diffusion",
    label: Annotated[str, typer.Option(help='a kind such as "sunflower"; all kinds by default')] = "",
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="how many pictures")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="of the noise")] = 0,
    folder: Annotated[Path, typer.Option(help="where they are written")] = Path("samples"),
    guide: Annotated[str, typer.Option(help="a classifier's run that steers them, such as cicalla-mobilenet")] = "",
    profile: Profile = "laptop",
) -> None:
    """Make pictures of flowers: a sheet, and a PNG each."""
    from flowerlib import sheets

    print(sheets.write(recipe, profile, label, count, seed, folder, guide))


@app.command()
def trace(
    key: Annotated[str, typer.Argument(help="such as hughes-fine/test/accuracy")], profile: Profile = "laptop"
) -> None:
    """Print where a number comes from."""
    from flowerlib import tracing

    for name, value in tracing.trace(key, profile).items():
        print(f"{name:18}{value}")


def main() -> None:
    """Run the command line; what the user can mend ends in one line and status 2."""
    try:
        status = app(standalone_mode=False)  # typer turns an interrupt into status 130
        if status == 130:
            raise KeyboardInterrupt
        sys.exit(status or 0)
    except FlowerlibError as error:
        print(f"flowerlib: {error}", file=sys.stderr)
        sys.exit(2)
    except TyperException as error:  # an unknown command or option; empty after the help was printed
        if said := error.format_message().rstrip("."):
            print(f"flowerlib: {said}: see python -m flowerlib --help", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("flowerlib: stopped; a training goes on at its last epoch when run again", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        place = f" ({Path(error.filename).name})" if error.filename else ""
        print(f"flowerlib: {error.strerror or error}{place}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
