"""`hanaper demo`: the main job, once, leaving nothing behind."""

import json
import re
import socket
from pathlib import Path

import pytest
from tests.support.processes import Hanaper

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"


def test_the_demo_shows_request_answer_and_verdict_and_leaves_nothing_behind(bare: Hanaper, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # Neither of these is for playing: were they used, the demo would fail.
    elsewhere = {
        "HANAPER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "HANAPER_KEY_ENCRYPTION_KEY_FILE": "/no/such/file",
        "HANAPER_DATA_DIR": str(tmp_path / "mine"),
    }
    environment = {**bare.environment, **elsewhere, "TMPDIR": str(scratch)}
    shown = Hanaper(bare.forks, bare.folder, environment).anew("demo")
    assert shown.stderr == ""
    told = shown.stdout
    url = re.search(r"ready on (http://127\.0\.0\.1:(\d+))\n", told)
    assert url is not None
    assert f"curl {url[1]}/api/v1/generate" in told
    assert f"-d 'api_key={SAMPLE_KEY}&generator_id=1&quantity=10'" in told
    answer = json.loads(told[told.index("   {\n") : told.index("4. The verdict")])
    assert (answer["response"]["code"], answer["private_key_used"]) == (815, "product")
    assert len(set(answer["response"]["licenseKeys"])) == 10
    assert "hanaper   the signature verifies with the product's public key" in told
    assert "openssl   Verified OK" in told
    assert "10 different license keys, stored before they were sent." in told
    assert re.search(r"Next steps\n +\S.* init .*--data-dir data", told)
    assert list(scratch.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(url[2])), timeout=10):
        pass
