"""Times as they are told: ISO 8601."""

from datetime import UTC, datetime


def iso(milliseconds: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"
