"""Sells what comes on standard input, a JSON value a line, through the HTTP interface of a seller."""
import json, os, sys, urllib.request, uuid

seller = os.environ.get("XBR_SELLER_URL", "http://127.0.0.1:7070")
api = os.environ.get("XBR_API_ID", "627f1b5c-58c2-43b1-8422-a34f7d3f5a04")
for line in sys.stdin:
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    request = urllib.request.Request(f"{seller}/v1/apis/{api}/publish", line.encode(), headers)
    with urllib.request.urlopen(request) as answer:
        print(json.load(answer)["key_id"], flush=True)
