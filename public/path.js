// The path of the object this page shows, and the addresses that follow from a path.

export const segments = location.pathname.split("/").filter(Boolean);
export const path = `/${segments.join("/")}`;

export const childPath = (parent, name) => (parent === "/" ? `/${name}` : `${parent}/${name}`);

export const objectUrl = (of) => location.origin + of;

export const methodUrl = (of, method) => `${location.origin}${of}:${method}`;

export const socketUrl = (of) => location.origin.replace(/^http/, "ws") + of;

/** Whether a name is one of a worker within the server, which is there for one attempt: nobody knows it by name. */
export const isWithin = (name) => /^w[0-9a-f]{28,31}$/.test(name);
