"""Run by the Python that has a parser of HCL: the blocks of files of Terraform as JSON; status 1 for what is none."""

import json
import sys
from pathlib import Path

import hcl2

parsed = {}
for name in sys.argv[1:]:
    with Path(name).open(encoding="utf-8") as file:
        parsed[name] = hcl2.load(file)
json.dump(parsed, sys.stdout)
