"""Signs tokens with PyJWT.

Reads lines `{"key": text, "algorithm": name, "claims": {...}, "headers": {...}}`, prints a token for each.
"""

import json
import sys
import warnings

import jwt

# The keys of forgeries are bad by intention.
warnings.simplefilter("ignore")

for line in sys.stdin:
    wanted = json.loads(line)
    key = wanted["key"] if wanted["algorithm"] != "none" else None
    print(jwt.encode(wanted["claims"], key, wanted["algorithm"], headers=wanted.get("headers")))
