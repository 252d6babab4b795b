"""Running a user's settings file, and telling what went wrong in it.

The file and the files beside it that it imports are run; nothing else is. Their modules
are known to Python under names of their own while they are read, and forgotten afterwards.
"""

import builtins
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import CodeType, ModuleType

from worldtune.config.containers import USER_MODULE
from worldtune.config.lent import Lender
from worldtune.config.mistakes import suggestion
from worldtune.config.store import ConfigStore
from worldtune.errors import RecipeError


class Runner:
    """One settings file being read.

    `store` holds what it registered, `files` the names of the files that were run.
    """

    def __init__(self, path: Path) -> None:
        """Take one file; raises RecipeError if it is no Python file."""
        _check_is_python_file(path)
        self.path = path
        self.store = ConfigStore()
        self.files: list[str] = []
        self.lender = Lender(self.store, self._run_beside)
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def reading(self) -> Iterator[ModuleType]:
        """Run the file; its functions can be called until the context ends.

        Whatever goes wrong in code of the file, now or within the context, is raised as a
        RecipeError that names the file and the line.
        """
        try:
            yield self._run(self.path)
        except RecipeError:
            raise
        except (Exception, SystemExit) as error:
            file, line = self._where(error)
            if not line:  # no line of the user's own: a fault of this program
                raise
            raise RecipeError(_tell(error, file, line)) from None
        finally:
            for module in self._modules.values():
                sys.modules.pop(module.__name__, None)

    def _run_beside(self, name: str) -> ModuleType | None:
        if name in self._modules:
            return self._modules[name]
        file = self.path.parent / f"{name}.py"
        if name in sys.stdlib_module_names or not file.is_file():
            return None
        return self._run(file)

    def _run(self, file: Path) -> ModuleType:
        module = ModuleType(f"{USER_MODULE}{file.stem}")
        module.__file__ = str(file)
        vars(module)["__builtins__"] = {
            **vars(builtins),
            "__import__": self.lender.import_module,
        }
        # Dataclasses look their module up by name.
        self._modules[file.stem] = sys.modules[module.__name__] = module
        self.files.append(str(file))
        exec(_compiled(file), vars(module))
        return module

    def _where(self, error: BaseException) -> tuple[str, int]:
        """The innermost line of the user's own code; line 0 where there is none."""
        if isinstance(error, SyntaxError) and error.filename in self.files:
            return str(error.filename), error.lineno or 1
        lines = [
            (frame.f_code.co_filename, line)
            for frame, line in walk_tb(error.__traceback__)
            if frame.f_code.co_filename in self.files
        ]
        return lines[-1] if lines else (self.files[-1], 0)


def _tell(error: BaseException, file: str, line: int) -> str:
    text = str(error)
    if isinstance(error, SyntaxError):
        text = error.msg
    elif isinstance(error, SystemExit):
        text = f"the file ends the program, with {error.code!r}"
    linecache.checkcache(file)
    source = linecache.getline(file, line).strip()
    said = f"{file}, line {line}: {type(error).__name__}: {text}".rstrip(": ")
    return f"{said}\n    {source}" if source else said


def _compiled(file: Path) -> CodeType:
    try:
        return compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except OSError as error:
        raise RecipeError(f"{file} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError) and error.filename:
            raise
        raise RecipeError(f"{file} is not a Python file: {error}") from None


def _check_is_python_file(path: Path) -> None:
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; expected a settings file, like my_run.py")
    if path.suffix != ".py":
        raise RecipeError(f"{path} is not a .py file; expected a settings file, like my_run.py")
    if not path.is_file():
        near = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise RecipeError(f"{path} does not exist{suggestion(path.name, near, '; check the path')}")
