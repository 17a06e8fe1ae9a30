"""English to German image captions, 29,000 / 1,014 / 1,000 (test 2016).

FOLDER holds {train,val,test_2016_flickr}.lc.norm.tok.{de,en}, and the raw texts as .de.gz, .en.gz. The part `lowercase`
is the published protocol: BLEU of lowercased tokens (`sacrebleu --tokenize none`). The part `raw` is what a user has:
cased text as people write it, scored as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from regard.text.lines import read_lines
from sets.part import DataSet, Numbers, Part, Split, answers

PUBLISHED = {"lowercase": "41.02"}  # BLEU: Transformer-Tiny, average of 10 checkpoints, beam 5
SPLITS = ("train", "val", "test_2016_flickr")


def prepare(data: Path, folder: Path) -> list[Part]:
    """Both forms of the text."""
    forms = {"lowercase": ".lc.norm.tok.{}", "raw": ".{}.gz"}
    found = []
    for name, form in forms.items():
        train, dev, test = (tuple(data / (split + form.format(side)) for side in ("en", "de")) for split in SPLITS)
        found.append(Part(name, train, dev, test))
    return found


def measure(models: Sequence[Path], part: Part, split: Split) -> Numbers:
    """Corpus BLEU as the part's protocol counts tokens; for raw text chrF too."""
    source, target = part.files(split)
    found, references = answers(models, source), [list(read_lines(target))]
    metrics = [BLEU(tokenize="none", force=True)] if part.name == "lowercase" else [BLEU(), CHRF()]
    scores = [metric.corpus_score(found, references) for metric in metrics]
    signatures = [str(metric.get_signature()) for metric in metrics]
    return {
        **{("bleu", "chrf")[place]: score.score for place, score in enumerate(scores)},
        "signature": "; ".join(signatures),
    }


SET = DataSet(prepare, measure, PUBLISHED)
