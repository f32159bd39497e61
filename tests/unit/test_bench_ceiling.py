"""What `openssl speed` prints, in the forms its releases have."""

import pytest

from hanaper.bench.ceiling import parse_speed
from hanaper.refusal import Fault

OF_3_0 = """\
Forked child 0
Forked child 1
Got: +F2:2:2048:4109.000000:61472.000000 from 0
version: 3.0.19
options: bn(64,64)
                  sign    verify    sign/s verify/s
rsa 2048 bits 0.000121s 0.000008s   8243.0 123435.0
"""
OF_3_5 = """\
version: 3.5.0
                   sign    verify    encrypt   decrypt   sign/s verify/s  encr./s  decr./s
rsa  3072 bits 0.001700s 0.000037s 0.000040s 0.001720s    588.3  27027.0  25000.0    581.4
rsa  4096 bits 0.004000s 0.000064s 0.000067s 0.004010s    250.0  15625.0  14925.4    249.4
"""


@pytest.mark.parametrize(
    ("output", "bits", "per_s"), [(OF_3_0, 2048, 8243.0), (OF_3_5, 3072, 588.3), (OF_3_5, 4096, 250)]
)
def test_the_column_of_signatures_is_found_by_its_heading(output: str, bits: int, per_s: float) -> None:
    assert parse_speed(output, bits) == per_s


@pytest.mark.parametrize(
    "output",
    [
        "",
        OF_3_5,
        "rsa 2048 bits 0.000121s 0.000008s 8243.0 123435.0",
        "  sign/s\nrsa 2048 bits\n",
        "a b c sign/s\nrsa 2048 bits 1",
    ],
)
def test_an_output_without_the_row_is_a_fault(output: str) -> None:
    with pytest.raises(Fault, match="no row for rsa2048"):
        parse_speed(output, 2048)
