"""Text to ids and back: one class for every kind of tokenizer, on Hugging Face `tokenizers`.

A saved tokenizer is one JSON file that `tokenizers.Tokenizer.from_file` reads as well. There `encode` gives the same
ids, except that characters outside the vocabulary, which we spell in bytes, are its "unknown".
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Encoding
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.normalizers import Normalizer

from regard.errors import DataError, ModelFolderError, RecipeError, StorageError
from regard.text.kinds import FORMS, KINDS, TokenizerKind
from regard.text.vocabulary import BOS, BYTES, EOS, PAD, SPECIALS, UNK, by_frequency, numbered

__all__ = ["BOS", "EOS", "KINDS", "PAD", "UNK", "Tokenizer"]

FIRST_BYTE = len(SPECIALS)
CHUNK = 10_000  # lines given to the library at once: its answer takes about 100 bytes a token


class Tokenizer:
    """Ids for one side of a corpus, or for both. Get one from `train`, `load` or `from_json`.

    kind: a key of KINDS. Ids 0, 1, 2, 3 are padding, beginning, end and unknown; text never becomes one of the first
    three, whatever it says. `len()` is the size of the vocabulary, specials and bytes included.
    """

    kind: str

    def __init__(self, kind: str, backend: Backend) -> None:
        self.kind = kind
        self._backend = backend
        self._bare = Backend(backend.model)  # for text that is normalised already: its offsets count there
        self._bare.pre_tokenizer = backend.pre_tokenizer
        self._ids = backend.get_vocab(with_added_tokens=False)
        self._pieces = sorted(self._ids, key=self._ids.__getitem__)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        kind: str,
        *,
        vocabulary: int,
        unicode: str = "NFC",
        lowercase: bool = False,
        accents: bool = True,
    ) -> Tokenizer:
        """Learns from texts, read once and in constant memory but for the distinct pieces; equal texts, equal JSON.

        vocabulary: most ids, specials and bytes included; characters, graphemes and symbols take what they need.
        unicode: NFC, NFKC, NFD or none. Without `accents` all marks are taken off: é is e.
        Raises RecipeError on a setting, DataError where there is no text.
        """
        chosen = check_settings(kind, vocabulary, unicode)
        normalizer = chosen.normalizer(unicode, lowercase, accents)
        backend = Backend(chosen.learn(count_pieces(texts, normalizer, chosen), vocabulary))
        backend.normalizer, backend.pre_tokenizer = normalizer, chosen.pre_tokenizer()
        if decoder := chosen.decoder():
            backend.decoder = decoder
        return cls(kind, backend)

    def widened(self, texts: Iterable[str], vocabulary: int) -> Tokenizer:
        """With what it does not know of `texts` after its own ids, most frequent first, `vocabulary` ids at most.

        Kinds that spell the unknown in bytes stay as they are. Raises DataError where there is no text.
        """
        kind = KINDS[self.kind]
        if kind.has_bytes:
            return self
        counts = count_pieces(texts, self._backend.normalizer, kind)
        new = [piece for piece in by_frequency(counts) if piece not in self._ids][: max(0, vocabulary - len(self))]
        if not new:
            return self
        wide = Backend.from_str(self.to_json())
        wide.model = WordLevel(numbered(self._pieces + new), unk_token=SPECIALS[UNK])
        return Tokenizer(self.kind, wide)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Reads what `save` wrote; raises ModelFolderError naming the file."""
        return cls.from_json(read_text(path), where=str(path))

    def save(self, path: Path) -> None:
        """Writes one tokenizer.json; raises StorageError."""
        try:
            path.write_text(self.to_json(), encoding="utf-8", newline="\n")
        except OSError as error:
            raise StorageError(f"cannot be written: {error}", where=str(path)) from error

    def to_json(self) -> str:
        """The whole tokenizer, in the format of the `tokenizers` library."""
        return self._backend.to_str()

    @classmethod
    def from_json(cls, text: str, *, where: str = "tokenizer.json") -> Tokenizer:
        """The inverse of `to_json`; raises ModelFolderError, naming `where`, on text that is not ours."""
        fix = "copy the model folder again, or train again"
        try:
            kind = kind_of(json.loads(text))
            backend = Backend.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise ModelFolderError(f"is not a tokenizer of ours: {error}", where=where, fix=fix) from error
        tokenizer = cls(kind, backend)
        if fault := tokenizer._fault():
            raise ModelFolderError(f"is not a tokenizer of ours: {fault}", where=where, fix=fix)
        return tokenizer

    def _fault(self) -> str:
        """What in a file that the library could read breaks a promise of this class; empty when all is well."""
        kind, backend = KINDS[self.kind], self._backend
        reserved = SPECIALS + BYTES if kind.has_bytes else SPECIALS
        normalizers = [kind.normalizer(*each) for each in itertools.product(FORMS, (False, True), (False, True))]
        faults = {
            "its ids have gaps": [self._ids[piece] for piece in self._pieces] != list(range(len(self))),
            "its first ids are not our specials and bytes": self._pieces[: len(reserved)] != reserved,
            "it has added tokens, which a text could spell": bool(backend.get_added_tokens_decoder()),
            "it cuts text in a way we do not": repr(backend.pre_tokenizer) != repr(kind.pre_tokenizer()),
            "it changes text in a way we do not": repr(backend.normalizer) not in map(repr, normalizers),
            "it cuts or pads lines": bool(backend.truncation or backend.padding or backend.post_processor),
        }
        return "; ".join(fault for fault, found in faults.items() if found)

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def is_lossless(self) -> bool:
        """Whether decode(encode(x)) == normalise(x) for every x.

        The other kinds hold it where `unknown(x)` is empty, and symbols where single spaces stand between them.
        """
        return KINDS[self.kind].has_bytes

    def digest(self) -> str:
        """Text that is another for a tokenizer that gives other ids."""
        return self.to_json()

    def places(self, before: Tokenizer) -> Sequence[int]:
        """The id here of each id of `before`, which this one is widened from."""
        return range(len(before))

    def own(self, ids: Sequence[int]) -> int:
        """How many of the ids of `encode` are the text's own: all, but where neighbours stand after them."""
        return len(ids)

    def normalise(self, text: str) -> str:
        """Unicode form, case and marks only. Doing it twice changes nothing. Raises DataError on a lone surrogate."""
        spaced = self._normalised(text)
        return spaced.removeprefix(" ") if KINDS[self.kind].leading_space else spaced

    def encode(self, text: str) -> list[int]:
        """Ids without beginning and end."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without beginning and end; raises DataError on a lone surrogate."""
        kind = KINDS[self.kind]
        if kind.cut and not kind.has_bytes:
            known, cut = self._ids, kind.cut
            return [[known.get(piece, UNK) for piece in cut(self._normalised(text))] for text in texts]
        rows: list[list[int]] = []
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            for text, encoding in zip(chunk, self._encode_batch(chunk), strict=True):
                ids: list[int] = encoding.ids
                rows.append(self._spelled(text) if kind.has_bytes and UNK in ids else ids)
        return rows

    def _encode_batch(self, texts: list[str]) -> list[Encoding]:
        try:
            return self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError:
            for text in texts:
                self._normalised(text)  # raises DataError on the text at fault
            raise

    def _normalised(self, text: str) -> str:
        return normalised(self._backend.normalizer, text)

    def _spelled(self, text: str) -> list[int]:
        """Ids with unknown characters as bytes."""
        spaced = self._normalised(text)
        encoding = self._bare.encode(spaced, add_special_tokens=False)
        ids: list[int] = []
        for known, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            ids += (FIRST_BYTE + byte for byte in spaced[start:end].encode()) if known == UNK else [known]
        return ids

    def pieces(self, text: str) -> list[str]:
        """The stretch of the normalised text that each of its own ids stands for; of bytes, the first has it all."""
        spaced = self._normalised(text)
        encoding = self._bare.encode(spaced, add_special_tokens=False)
        has_bytes, pieces = KINDS[self.kind].has_bytes, []
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            piece = spaced[start:end]
            pieces += [piece, *[""] * (len(piece.encode()) - 1)] if has_bytes and token == UNK else [piece]
        return pieces

    def decode(self, ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """Text without specials; bytes that are no UTF-8 become U+FFFD. Unknown ids become the texts of `unknown`."""
        kind, spellings = KINDS[self.kind], iter(unknown)
        content = [token for token in ids if token >= FIRST_BYTE or (token == UNK and unknown)]
        if kind.has_bytes:
            text = joined_with_bytes([token for token in content if token != UNK], self._pieces)
        else:
            spelled = [next(spellings) if token == UNK else self._pieces[token] for token in content]
            text = (" " if kind.spaces_between else "").join(spelled)
        return text.removeprefix(" ") if kind.leading_space else text

    def continuing(self) -> frozenset[int]:
        """The ids that go on with a word: where tokens are pieces of words, those that begin with a letter or digit."""
        if not KINDS[self.kind].leading_space:
            return frozenset()
        first_piece = FIRST_BYTE + (len(BYTES) if KINDS[self.kind].has_bytes else 0)
        words = (id for id, piece in enumerate(self._pieces) if id >= first_piece and piece[:1].isalnum())
        return frozenset((*range(FIRST_BYTE, first_piece), *words))

    def symbols(self, ids: Sequence[int]) -> list[str]:
        """One string a token to show: spaces as ␣, specials as <eos>, bytes as <0x41>."""
        reserved = len(SPECIALS) + len(BYTES) if KINDS[self.kind].has_bytes else len(SPECIALS)
        pieces = self._pieces
        return [pieces[token].strip() if token < reserved else pieces[token].replace(" ", "␣") for token in ids]

    def unknown(self, text: str) -> list[str]:
        """The pieces of text that the vocabulary does not know, in order; single characters where there are bytes."""
        kind = KINDS[self.kind]
        spaced = self._normalised(text)
        encoding = self._bare.encode(spaced, add_special_tokens=False)
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        pieces = [spaced[start:end] for token, (start, end) in spans if token == UNK]
        if kind.has_bytes:  # unigram gives a run of unknown characters as one span
            return [character for piece in pieces for character in piece]
        return [piece.removeprefix(" ") or piece for piece in pieces] if kind.leading_space else pieces


def read_text(path: Path) -> str:
    """A file of a tokenizer; raises ModelFolderError naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"cannot be read: {error}", where=str(path)) from error


def check_settings(kind: str, vocabulary: int, unicode: str) -> TokenizerKind:
    """The row of the table; raises RecipeError on a setting that cannot be."""
    if kind not in KINDS:
        raise RecipeError(f"there is no tokenizer {kind!r}", fix=f"choose one of {', '.join(KINDS)}")
    if unicode not in FORMS:
        raise RecipeError(f"there is no Unicode form {unicode!r}", fix=f"choose one of {', '.join(FORMS)}")
    smallest = len(SPECIALS) + (len(BYTES) if KINDS[kind].has_bytes else 0) + 1
    if vocabulary < smallest:
        raise RecipeError(
            f"a vocabulary of {vocabulary} is too small for {kind}, which needs {smallest} ids for specials"
            f"{' and bytes' if KINDS[kind].has_bytes else ''} and one piece",
            fix=f"ask for at least {smallest}",
        )
    return KINDS[kind]


def count_pieces(texts: Iterable[str], normalizer: Normalizer, kind: TokenizerKind) -> Counter[str]:
    """How often each piece occurs; raises DataError where all is blank."""
    split = kind.pre_tokenizer().pre_tokenize_str
    counts: Counter[str] = Counter()
    for text in texts:
        if text and not text.isspace():
            ready = normalised(normalizer, text)
            counts.update(kind.cut(ready) if kind.cut else [piece for piece, _ in split(ready)])
    if not counts:
        raise DataError("there is no text to learn a vocabulary from", fix="give at least one line that is not blank")
    return counts


def normalised(normalizer: Normalizer, text: str) -> str:
    """What the library's normalizer makes of the text; raises DataError on a lone surrogate."""
    try:
        return str(normalizer.normalize_str(text))
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start + 1} is half of a surrogate pair, which is no Unicode text: {text[:80]!a}",
            fix="write the character itself, or both halves",
        ) from error


def joined_with_bytes(ids: Sequence[int], pieces: Sequence[str]) -> str:
    """Pieces as they are, runs of byte ids read as UTF-8."""
    text = bytearray()
    for token in ids:
        byte = token - FIRST_BYTE
        text += bytes((byte,)) if byte < len(BYTES) else pieces[token].encode()
    return text.decode("utf-8", errors="replace")


def kind_of(saved: dict[str, dict[str, object]]) -> str:
    """The kind that cuts and looks up as the saved tokenizer does; raises KeyError, TypeError or ValueError."""
    pattern, model = saved["pre_tokenizer"]["pattern"], saved["model"]
    for name, kind in KINDS.items():
        same = pattern == {"Regex": kind.pattern} and model["type"] == kind.model
        if same and (model.get("unk_token") == SPECIALS[UNK] or model.get("unk_id") == UNK):
            return name
    raise ValueError("it neither cuts nor looks up text as one of our kinds does")
