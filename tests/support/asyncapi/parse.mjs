// Reads a JSON array of AsyncAPI documents from standard input; writes, for each, what AsyncAPI's
// own parser says of it.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const SEVERITIES = ["error", "warning", "information", "hint"];

async function judge(text) {
  const { document, diagnostics } = await new Parser().parse(text);
  const channels = document?.allChannels().all() ?? [];
  return {
    problems: diagnostics.map(({ severity, code, path, message }) => ({
      severity: SEVERITIES[severity],
      code,
      path: path.join("/"),
      message,
    })),
    channels: Object.fromEntries(
      channels.map((channel) => [channel.address(), channel.messages().all().length]),
    ),
  };
}

const found = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  found.push(await judge(text));
}
console.log(JSON.stringify(found));
