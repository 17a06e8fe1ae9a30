"""Every error this package raises on purpose, and the exit code each one ends a command with.

RegardError                  anything we can explain
├── UserError                wrong input: exit code 2
│   ├── UsageError           a command or call that asks for something impossible
│   ├── DataError            what stands in a file of text (names `file:line`)
│   ├── RecipeError          settings: unknown key, wrong type, absurd size
│   ├── ModelFolderError     a model folder with a missing, altered or foreign file
│   └── StorageError         the disk: full, read-only, not there
└── TrainingError            training went wrong (loss is not a number): exit code 2 as well, settings or data cure it

A message says what was wanted, what was found, where, and what to do.
"""


class RegardError(Exception):
    """`where` is `file:line` or a path, `fix` is the sentence that starts with what to do."""

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        self.message, self.where, self.fix = message, where, fix
        super().__init__(self.__str__())

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        return f"{located}\n  fix: {self.fix}" if self.fix else located


class UserError(RegardError):
    """The cause lies in what the user gave us."""

    exit_code = 2


class UsageError(UserError):
    """A command or call that asks for something impossible."""


class DataError(UserError):
    """A file of text that cannot be read as it should."""


class RecipeError(UserError):
    """A setting that is unknown, of the wrong type or out of range."""


class ModelFolderError(UserError):
    """A model folder that is missing, incomplete, altered or not ours."""


class StorageError(UserError):
    """The disk did not take what had to be written."""


class TrainingError(RegardError):
    """Training cannot go on: the loss or a gradient is not a number."""

    exit_code = 2
