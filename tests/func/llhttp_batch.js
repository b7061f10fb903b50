// The same as parse_batch.c, with the parser inside node: llhttp.
"use strict";
const { HTTPParser, allMethods, methods } = process.binding("http_parser");
const { kOnHeadersComplete, kOnBody, kOnMessageComplete } = HTTPParser;

function run(kind, input) {
    const parser = new HTTPParser();
    const found = { messages: [], state: "head", why: "" };
    let word = "", pieces = [], last = false;

    // No lenient flag; heads as large as ours.
    parser.initialize(kind === "q" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 65536, HTTPParser.kLenientNone || 0);
    parser[kOnHeadersComplete] = (major, minor, headers, method, url, status, reason, upgrade, keepAlive) => {
        word = kind === "q" ? (typeof method === "number" ? (allMethods || methods)[method] : method) : String(status);
        pieces = [];
        found.state = "body";
        const tunnel = kind === "q" ? upgrade : status === 101;
        last = !keepAlive;
        if (tunnel)
            found.state = "tunnel";
        // Older ones leave it to their user that 1xx, 204 and 304 have no content.
        const bare = kind === "h" || (kind === "r" && (status < 200 || status === 204 || status === 304));
        return tunnel ? 2 : bare ? 1 : 0;
    };
    parser[kOnBody] = (b, start, n) => {
        pieces.push(Buffer.from(start === undefined ? b : b.slice(start, start + n)));
    };
    parser[kOnMessageComplete] = () => {
        found.messages.push([word, Buffer.concat(pieces).toString("hex")]);
        if (found.state !== "tunnel")
            found.state = last ? "closed" : "end";
    };
    const error = parser.execute(input);
    // What is cut short is no error of its own.
    if (!(error instanceof Error) && found.state !== "tunnel")
        parser.finish();
    // What follows a last message or a tunnel's head is not looked at.
    if (error instanceof Error && found.state !== "tunnel" && found.state !== "closed") {
        found.state = "rejected";
        found.why = `${error.code} ${error.reason}`;
    }
    parser.close && parser.close();
    return found;
}

const all = require("fs").readFileSync(0);
const out = [];
for (let at = 0; at < all.length;) {
    const n = all.readUInt32BE(at + 1);
    out.push(JSON.stringify(run(String.fromCharCode(all[at]), all.subarray(at + 5, at + 5 + n))));
    at += 5 + n;
}
process.stdout.write(out.join("\n") + "\n");
