"""`regard train`: from pairs to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            help="A file of pairs (TSV, JSONL, .gz, .zst, - is stdin), two parallel files, or a folder of such."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="A built-in task in place of files: copy, sort, reverse, dates, pronounce, scan_length."),
    ] = None,
    valid: Annotated[
        list[str] | None, typer.Option(help="Development pairs; give it twice for two parallel files.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make [default: runs/NAME].")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as section.key=value. May be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    columns: Annotated[str | None, typer.Option(help="Source and target column, as 1,2 or by header.")] = None,
    separator: Annotated[str | None, typer.Option(help="What stands between columns [default: a tab].")] = None,
    on_bad_line: Annotated[str | None, typer.Option(help="error, or skip and count.")] = None,
    model: Annotated[
        str | None, typer.Option("--from", help="A model whose weights, settings and tokenizers it begins with.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder where it stopped.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run would take, and stop before the first step.")
    ] = False,
) -> None:
    """Train a model. Settings follow from the data and are printed with the reason; --set and --config win.

    In several processes: torchrun --nproc-per-node=N -m regard train ...
    """
    from regard.cli.progress import watched
    from regard.cli.settings import gather
    from regard.config import merge
    from regard.errors import UsageError
    from regard.heap import keep_heap

    keep_heap()
    if resume:
        if pairs or task or valid or settings or config or out or model is not None or dry_run:
            raise UsageError("--resume takes no other settings", fix="a run goes on with the recipe it began with")
        from regard import trainer

        with watched(resume) as listener:
            trainer.resume(resume, listener)
        return
    chosen = gather(pairs or [], task, valid or [], settings or [], config, columns, separator, on_bad_line)
    if model is not None:
        chosen = merge(chosen, {"training": {"begin_with": model}})
    run = out or Path("runs") / (task or _stem((pairs or ["pairs"])[0]))
    from regard import trainer

    with watched(run) as listener:
        trainer.train(chosen, run, listener, dry_run=dry_run)


def _stem(path: str) -> str:
    """`some/train.tsv.gz` -> `train`."""
    return "stdin" if path == "-" else Path(path).name.split(".")[0] or "model"
