"""Look for migrations that would block a running system: squawk over the SQL that all revisions render to.

    python -m migrations.lint

Which rules do not apply here, and why, stands in `.squawk.toml`.
"""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from app.migrate import render
from app.settings import Settings

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Return squawk's exit status."""
    squawk = Path(sysconfig.get_path("scripts")) / "squawk"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as rendered:
        rendered.write(render(Settings()))
        rendered.flush()
        return subprocess.run([squawk, "--config", ROOT / ".squawk.toml", rendered.name], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
