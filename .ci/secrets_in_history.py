"""Search every line that was ever committed for keys, tokens and passwords; exit status 1 names what was found.

A secret that was committed once is public, though a later commit takes it away: rotate it.
"""

import subprocess
import sys
from pathlib import Path

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

DETECTORS = (
    "ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "CloudantDetector",
    "DiscordBotTokenDetector", "GitHubTokenDetector", "GitLabTokenDetector", "IbmCloudIamDetector", "JwtTokenDetector",
    "MailchimpDetector", "NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector",
    "SlackDetector", "SquareOAuthDetector", "StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector",
)  # fmt: skip
"""What has a form of its own. Detectors of mere randomness would find every content hash."""

INVENTED = ("secret", "password", "canary", "word", "hunter2-canary")
"""What the secrets of examples and tests are or begin with."""


def committed_lines(repository: Path) -> list[str]:
    """Every distinct line that a commit of any branch added, and those of the working tree's tracked files."""
    git = ["git", "-C", str(repository)]
    patches = subprocess.run(
        [*git, "log", "--all", "--patch", "--unified=0", "--no-color", "--no-ext-diff", "--text"],
        check=True,
        capture_output=True,
    ).stdout.decode(errors="replace")
    added = {line[1:] for line in patches.splitlines() if line.startswith("+") and not line.startswith("+++")}
    names = subprocess.run([*git, "ls-files", "-z"], check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (file := repository / name).is_file():
            added.update(file.read_text(errors="replace").splitlines())
    return sorted(added)


def found_in(lines: list[str]) -> list[tuple[str, str]]:
    """(kind, line without it) of each secret, the invented ones left out."""
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
        return [
            (secret.type, line.replace(secret.secret_value, "***") if secret.secret_value else "")
            for line in lines
            for secret in scan_line(line)
            if not (secret.secret_value or "").startswith(INVENTED)
        ]


def main() -> int:
    """Print what was found."""
    found = found_in(committed_lines(Path(__file__).parents[1]))
    for kind, line in found:
        print(f"{kind}: {line.strip()[:100]}")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
