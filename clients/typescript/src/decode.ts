// Frames of the server's as what users get. All of it pure functions.

import type { Frame } from "./connection.js";
import type { Gap, Member, Message, MessageMeta, Roster, RosterChange } from "./types.js";

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Reads a message event. */
export function messageOf(frame: Frame): Message<unknown> {
  const topic = text(frame["topic"]) ?? "";
  const meta: MessageMeta = { topic, subscription: text(frame["subscription"]) ?? topic };
  const known = {
    type: text(frame["type"]),
    id: text(frame["id"]),
    source: text(frame["source"]),
    key: text(frame["key"]),
    timestamp: dateOf(frame["timestamp"]),
    position: text(frame["position"]),
    correlationId: text(frame["correlation_id"]),
    contentType: text(frame["content_type"]),
  };
  for (const [name, value] of Object.entries(known)) {
    if (value !== undefined) Object.assign(meta, { [name]: value });
  }
  const base64 = text(frame["data_base64"]);
  return { data: base64 === undefined ? (frame["data"] ?? null) : bytesOf(base64), meta };
}

function dateOf(value: unknown): Date | undefined {
  const date = typeof value === "string" ? new Date(value) : undefined;
  return date === undefined || Number.isNaN(date.getTime()) ? undefined : date;
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Reads a gap: an event of its own, or a part of a history's answer. */
export function gapOf(frame: Frame, topic: string, reason: string): Gap {
  const gap: Gap = {
    topic,
    reason: text(frame["reason"]) ?? reason,
    missed: typeof frame["missed"] === "number" ? frame["missed"] : null,
  };
  const position = text(frame["position"]);
  if (position !== undefined) gap.position = position;
  return gap;
}

function membersOf(value: unknown): Member[] {
  if (!Array.isArray(value)) return [];
  const members = value.filter((one): one is Frame => typeof one === "object" && one !== null);
  return members.flatMap((one) => {
    const client = text(one["client"]);
    if (client === undefined) return [];
    const member: Member = { client };
    const user = text(one["user"]);
    if (user !== undefined) member.user = user;
    if (one["info"] !== undefined && one["info"] !== null) member.info = one["info"];
    return [member];
  });
}

/** Reads who is on a topic: an answer, or an event that names everybody or nobody. */
export function rosterOf(frame: Frame, topic: string): Roster {
  const named = Array.isArray(frame["members"]) ? membersOf(frame["members"]) : null;
  const count = typeof frame["count"] === "number" ? frame["count"] : (named?.length ?? 0);
  return { topic: text(frame["topic"]) ?? topic, count, members: named };
}

/**
 * What a roster becomes by a presence event. `undefined`: the event does not go with what is known, so the
 * whole roster has to be asked for.
 */
export function rosterAfter(before: Roster | undefined, frame: Frame, topic: string): Roster | undefined {
  const changes = "joined" in frame || "left" in frame;
  if (Array.isArray(frame["members"]) || !changes) return rosterOf(frame, topic);
  if (before?.members == null) return undefined;
  const members = new Map(before.members.map((member) => [member.client, member]));
  for (const member of leaversOf(frame["left"])) members.delete(member);
  for (const member of membersOf(frame["joined"])) members.set(member.client, member);
  const count = frame["count"];
  if (typeof count === "number" && count !== members.size) return undefined;
  return { topic: before.topic, count: members.size, members: [...members.values()] };
}

/** Who left: members, or only the ids of their connections. */
function leaversOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((one): one is string => typeof one === "string").concat(membersOf(value).map((one) => one.client));
}

/** What differs between two rosters. Members that were not named neither joined nor left. */
export function rosterChange(before: Roster | undefined, now: Roster): RosterChange {
  const was = new Map((before?.members ?? []).map((member) => [member.client, member]));
  if (now.members === null) return { joined: [], left: [] };
  const joined = now.members.filter((member) => {
    const earlier = was.get(member.client);
    was.delete(member.client);
    return earlier === undefined || JSON.stringify(earlier) !== JSON.stringify(member);
  });
  return { joined, left: before?.members === null ? [] : [...was.values()] };
}
