"""Lists what runs, a software bill of materials: CycloneDX 1.6 in JSON, the same bytes each time.

From the first part of requirements.lock, so for all platforms. `make sbom` writes it into dist.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from hanaper import RELEASED

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(
    r"(?m)^(?P<name>[a-z0-9._-]+)(?:\[.*\])?==(?P<version>\S+)(?: ; (?P<marker>.+))? \\\n(?P<hashes>(?: .*\n)+)"
)


def product() -> Component:
    """The program itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    purl = PackageURL("pypi", name=project["name"], version=project["version"])
    return Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        description=project["description"],
        licenses=[LicenseFactory().make_from_string(project["license"])],
        purl=purl,
        bom_ref=str(purl),
    )


def packages(lock: str) -> Iterator[Component]:
    """What a lock file has. Of the hashes, each is that of a file; which one is installed depends on the platform."""
    for entry in ENTRY.finditer(lock):
        purl = PackageURL("pypi", name=entry["name"], version=entry["version"])
        hashes = [
            HashType(alg=HashAlgorithm.SHA_256, content=found) for found in re.findall(r"sha256:(\w+)", entry["hashes"])
        ]
        files = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=hashes)
        where = [Property(name="hanaper:installed-where", value=entry["marker"])] if entry["marker"] else []
        yield Component(
            name=entry["name"],
            version=entry["version"],
            purl=purl,
            bom_ref=str(purl),
            external_references=[files],
            properties=where,
        )


def main() -> None:
    """Write it into the file that is named."""
    lock = re.split(r"(?m)^# --- build ---$", (ROOT / "requirements.lock").read_text())[0]
    root, runs = product(), list(packages(lock))
    # No moment and no number by chance: who makes it again gets the same.
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{root.purl}\n{lock}"),
        metadata=BomMetaData(component=root, timestamp=RELEASED),
        components=runs,
    )
    bom.register_dependency(root, runs)
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    print(f"{target}: {len(runs)} packages")


if __name__ == "__main__":
    main()
