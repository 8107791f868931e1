"""Examples of every subcommand, for its help and the manual page."""

from typing import Final

PROGRAM: Final = (
    "signalbox",
    "signalbox --data-dir ~/lab serve --port 8123",
    "signalbox set build.status ok",
    "signalbox --json ls 'build.**'",
)
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "add": ("signalbox add visits", "signalbox add oven.target -5"),
    "backup": ("signalbox backup monday.db",),
    "check": ("signalbox check", "signalbox check 'oven.**' --rule oven-range"),
    "compact": ("signalbox compact --dry-run", "signalbox compact"),
    "completion": (
        'eval "$(signalbox completion bash)"',
        'signalbox completion zsh >"${fpath[1]}/_signalbox"',
        "signalbox completion fish >~/.config/fish/completions/signalbox.fish",
    ),
    "describe": (
        "signalbox describe oven.target",
        "signalbox describe lamp.hall.on --value true --actor ada",
    ),
    "diff": ("signalbox diff 812 now", "signalbox diff 2026-11-23T10:00 now 'build.**'"),
    "export": (
        "signalbox export --settings >all.ndjson",
        "signalbox export 'build.**' --format csv --at 812 >build.csv",
        "signalbox export --history >history.ndjson",
    ),
    "get": (
        "signalbox get build.status",
        "signalbox get train.lr --default 0.01",
        "signalbox get build.status --at 2026-11-23T10:00",
    ),
    "history": ("signalbox history train.lr --limit 10", "signalbox history train.lr --json"),
    "import": (
        "signalbox import keys.csv --dry-run",
        "sysctl -a | signalbox import - --format lines",
    ),
    "log": ("signalbox log --status rejected", "signalbox log --actor ci --limit 10 --json"),
    "ls": ("signalbox ls 'build.**'", "signalbox ls --search error --sort changed --limit 20"),
    "merge": ("""signalbox merge lamp '{"level": 70, "colour": null}'""",),
    "migrate": (
        "signalbox migrate --to nats://127.0.0.1:4222/lab",
        "signalbox migrate --to sqlite",
    ),
    "mv": ("signalbox mv lamp.on desk.lamp", "signalbox mv old. new. --replace"),
    "path": ("signalbox path",),
    "rebuild": ("signalbox rebuild",),
    "redo": ("signalbox redo",),
    "replay": (
        "signalbox replay history.ndjson --into ~/lab --speed 10",
        "signalbox replay --from 2026-11-23T10:00 --to now --into ~/lab --speed 0",
    ),
    "restore": (
        "signalbox restore 812 'build.**' --dry-run",
        "signalbox restore 2026-11-23T10:00 --without log. --yes",
    ),
    "rm": ("signalbox rm build.status", "signalbox rm build."),
    "rule": (
        "signalbox rule set oven-range oven.target --type number --min 0 --max 250 --step 5",
        "signalbox rule set door 'lift.*.moving' --on true --requires 'door.{1}.closed=true'",
        "signalbox rule set mode oven.mode --choices off,bake,grill --dry-run",
        "signalbox rule ls",
        "signalbox rule show oven-range >oven-range.json",
        "signalbox rule set oven-range --json oven-range.json",
        "signalbox rule rm oven-range",
    ),
    "run": ("signalbox run backup -- rsync -a src/ dest/",),
    "serve": ("signalbox serve", "signalbox serve --port 8123 --data-dir ~/lab --json"),
    "set": (
        "signalbox set train.lr 0.01",
        "signalbox set train.lr 0.02 --expect 812",
        "date | signalbox set build.date -",
        "signalbox set app.config @config.json --json-value",
        """signalbox set note "$NOTE" --text""",
    ),
    "status": ("signalbox status", "signalbox status --json"),
    "toggle": ("signalbox toggle lamp.on",),
    "token": ("signalbox token --login", "signalbox token --rotate"),
    "tree": ("signalbox tree", "signalbox tree build. --at 812"),
    "undo": (
        "signalbox undo",
        "signalbox undo --actor ci",
        "signalbox undo --replace lamp.on=815",
    ),
    "verify": ("signalbox verify", "signalbox verify --json"),
    "watch": (
        "signalbox watch 'build.**'",
        "signalbox watch build.status --until ok --timeout 600",
        "signalbox watch lamp.on --exec 'jq .value >>lamp.log'",
    ),
}
"""From a subcommand to command lines as somebody types them."""


def help_section(lines: tuple[str, ...]) -> str:
    r"""The examples as the end of a help; after click's `\b` no line is wrapped."""
    return "\n".join(
        ["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)]
    )
