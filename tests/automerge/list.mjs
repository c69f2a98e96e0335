// Lists the events of a network that `mesh log export --automerge DIR` wrote, with Automerge's JavaScript package:
//
//     node list.mjs DIR
//
// prints the id of each event, one a line, in the order of the documents. Ends with 1 and says why if a document does not
// load, an event is not what its key says, or the count is not the manifest's.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as Automerge from "@automerge/automerge";
import { blake3 } from "@noble/hashes/blake3";
import { bytesToHex } from "@noble/hashes/utils";

const KEY = 24;

function fail(why) {
  console.error(why);
  process.exit(1);
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  fail("usage: node list.mjs DIR");
}

const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
const seen = new Set();
for (const { file, events } of manifest.documents) {
  const document = Automerge.load(new Uint8Array(readFileSync(join(folder, file))));
  const entries = Object.entries(document);
  if (entries.length !== events) {
    fail(`${file} holds ${entries.length} events; the manifest says ${events}`);
  }
  for (const [key, bytes] of entries) {
    if (!(bytes instanceof Uint8Array)) {
      fail(`${file}: the value under ${key} is no bytes`);
    }
    const id = bytesToHex(blake3(bytes));
    if (key.length !== KEY || !id.startsWith(key)) {
      fail(`${file}: the value under ${key} has the hash ${id}`);
    }
    seen.add(id);
    console.log(id);
  }
}
if (seen.size !== manifest.events) {
  fail(`${seen.size} events in all; the manifest says ${manifest.events}`);
}
