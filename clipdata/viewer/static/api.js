// Questions to the server that served this page, and to no other.

export class Refused extends Error {
  constructor(told) {
    super(told.error || "the viewer does not answer");
    this.hint = told.hint || null;
  }
}

async function answered(response) {
  if (response.ok) return response;
  let told = {};
  try {
    told = await response.json();
  } catch {
    told = { error: `the viewer answered ${response.status}` };
  }
  throw new Refused(told);
}

async function asked(path, options) {
  try {
    return await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ error: "the viewer does not answer; was it ended?" });
  }
}

export async function get(what, query, signal) {
  return (await answered(await asked(`/api/${what}?${query}`, { signal }))).json();
}

export async function getBytes(what, query) {
  return (await answered(await asked(`/api/${what}?${query}`, {}))).arrayBuffer();
}

export async function post(what, query, body) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  return (await answered(await asked(`/api/edit/${what}?${query}`, options))).json();
}

/** Send a file to search by; the server keeps what it made of it, and says under which name. */
export async function sendPicture(file) {
  const options = { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } };
  return (await answered(await asked(`/api/picture?${new URLSearchParams({ name: file.name || "" })}`, options))).json();
}

export const pictureUrl = (version, row, size) =>
  `/picture?${new URLSearchParams({ ...(version === null ? {} : { version }), row, size })}`;
