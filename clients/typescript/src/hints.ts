// What a browser says about its network and whether its page is looked at.

/** A hint: `"back"`, the network or the person is there again; `"gone"`, the network is not. */
export type Hint = (what: "back" | "gone") => void;

interface Source {
  addEventListener?: (type: string, listener: () => void) => void;
  removeEventListener?: (type: string, listener: () => void) => void;
}

/** Listens until the returned function is called. Where there is no browser nothing is ever heard. */
export function listen(hint: Hint): () => void {
  const scope = globalThis as Source & { document?: Source & { visibilityState?: string } };
  const page = scope.document;
  const back = () => hint("back");
  const gone = () => hint("gone");
  const seen = () => page?.visibilityState === "visible" && hint("back");
  const pairs: [Source | undefined, string, () => void][] = [
    [scope, "online", back],
    [scope, "offline", gone],
    [scope, "pageshow", back],
    [page, "visibilitychange", seen],
  ];
  for (const [source, type, listener] of pairs) source?.addEventListener?.(type, listener);
  return () => {
    for (const [source, type, listener] of pairs) source?.removeEventListener?.(type, listener);
  };
}
