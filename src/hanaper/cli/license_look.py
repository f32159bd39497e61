"""`hanaper key show` and `hanaper key activations`: one license key."""

from hanaper.cli.license_named import Named, existing, named
from hanaper.cli.license_rows import activation_row, full_row
from hanaper.cli.options import AsJson, DataDir, opened
from hanaper.cli.output import print_row, print_rows
from hanaper.licenses import activation_store
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session


def show(license_key: Named, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show a license key, with its state."""
    which = named(license_key)
    with opened(data_dir) as services:

        def look(session: Session) -> dict[str, object]:
            return full_row(session, existing(session, which, lock=False)[0], now=services.clock())

        print_row(services.storage.read(look), as_json=as_json)


def activations(license_key: Named, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List what a license key is active on, oldest first."""
    which = named(license_key)
    with opened(data_dir) as services:

        def look(session: Session) -> list[dict[str, object]]:
            key, _ = existing(session, which, lock=False)
            return [
                activation_row(activation) for activation in activation_store.active(session, key.id, scope=EVERYTHING)
            ]

        print_rows(
            services.storage.read(look),
            ("id", "identifier", "activated_at", "ip", "user_agent", "post_url"),
            as_json=as_json,
            empty="It is active nowhere.",
        )
