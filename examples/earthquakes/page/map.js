// The map: two canvases on top of each other. What does not move (land, graticule, a faint mark where
// there was an earthquake) is drawn once; only what is still fading is drawn anew in each frame.

import { LAKES, LAND } from "./land.js";

const CENTRE = 150; // the Pacific whole, the seam in the Atlantic
const FADE = 9000; // milliseconds
const RIPPLE = 1600;
const CALM = matchMedia("(prefers-reduced-motion: reduce)").matches;

// The Equal Earth projection (Šavrič, Patterson, Jenny 2018): areas are true, outlines look right.
const A = [1.340264, -0.081106, 0.000893, 0.003796];
const M = Math.sqrt(3) / 2;
const RADIANS = Math.PI / 180;

// x and y of a place; x of a longitude beyond ±180° from the centre is beyond the edge of the map.
function project(fromCentre, lat) {
  const t = Math.asin(M * Math.sin(lat * RADIANS));
  const t2 = t * t;
  const t6 = t2 * t2 * t2;
  const x = (fromCentre * RADIANS * Math.cos(t)) / (M * (A[0] + 3 * A[1] * t2 + t6 * (7 * A[2] + 9 * A[3] * t2)));
  return [x, t * (A[0] + A[1] * t2 + t6 * (A[2] + A[3] * t2))];
}

const WIDTH = 2 * project(180, 0)[0];
const HEIGHT = 2 * project(0, 90)[1];

const DEPTHS = [
  [0, [255, 214, 102]], [35, [255, 138, 76]], [100, [240, 72, 120]], [300, [150, 92, 246]], [600, [64, 156, 255]],
];

export function colour(depth, alpha = 1) {
  const next = DEPTHS.findIndex(([at]) => at > depth);
  const [low, high] = next < 0 ? [DEPTHS.at(-1), DEPTHS.at(-1)] : [DEPTHS[Math.max(0, next - 1)], DEPTHS[next]];
  const share = high[0] === low[0] ? 0 : (depth - low[0]) / (high[0] - low[0]);
  const rgb = low[1].map((from, i) => Math.round(from + Math.max(0, share) * (high[1][i] - from)));
  return `rgb(${rgb.join(" ")} / ${alpha})`;
}

// Radius on a map 1000 pixels wide: each magnitude is about three quarters larger.
const size = (magnitude) => Math.max(1.3, 0.8 * 1.78 ** magnitude);

export class WorldMap {
  constructor(ground, live) {
    this.ground = ground;
    this.live = live;
    this.marks = []; // all of the week, to draw them again at another size
    this.fading = [];
    this.frame = 0;
    this.resize();
    new ResizeObserver(() => this.resize()).observe(ground.parentElement);
  }

  add(quake) {
    const mark = { ...quake, since: performance.now() };
    this.marks.push(mark);
    this.leaveMark(mark);
    this.fading.push(mark);
    this.frame ||= requestAnimationFrame((now) => this.draw(now));
  }

  clear() {
    this.marks = [];
    this.fading = [];
    this.drawGround();
  }

  resize() {
    const { clientWidth, clientHeight } = this.ground.parentElement;
    this.scale = Math.min(clientWidth / WIDTH, clientHeight / HEIGHT) * 0.99;
    this.middle = [clientWidth / 2, clientHeight / 2];
    for (const canvas of [this.ground, this.live]) {
      canvas.width = clientWidth * devicePixelRatio;
      canvas.height = clientHeight * devicePixelRatio;
      canvas.getContext("2d").setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    }
    this.drawGround();
    this.frame ||= requestAnimationFrame((now) => this.draw(now));
  }

  at(fromCentre, lat) {
    const [x, y] = project(fromCentre, lat);
    return [this.middle[0] + x * this.scale, this.middle[1] - y * this.scale];
  }

  place({ lon, lat }) {
    return this.at(((((lon - CENTRE + 180) % 360) + 360) % 360) - 180, lat);
  }

  drawGround() {
    const pen = this.ground.getContext("2d");
    const style = getComputedStyle(this.ground);
    pen.clearRect(0, 0, this.ground.width, this.ground.height);
    const globe = this.path([[-180, -90], [180, -90], [180, 90], [-180, 90]], 0);
    pen.fillStyle = style.getPropertyValue("--sea");
    pen.fill(globe);
    pen.save();
    pen.clip(globe);
    for (const [name, outlines] of [["--land", LAND], ["--sea", LAKES]]) {
      pen.fillStyle = style.getPropertyValue(name);
      // Three times around, so that what crosses the seam is whole on both sides of it.
      for (const turn of [-360, 0, 360]) {
        for (const outline of outlines) pen.fill(this.path(outline, turn - CENTRE));
      }
    }
    pen.strokeStyle = style.getPropertyValue("--graticule");
    pen.lineWidth = 1;
    for (let lon = -180; lon <= 180; lon += 30) pen.stroke(this.path([[lon, -90], [lon, 90]], 0, false));
    for (let lat = -60; lat <= 60; lat += 30) pen.stroke(this.path([[-180, lat], [180, lat]], 0, false));
    pen.restore();
    pen.strokeStyle = style.getPropertyValue("--rim");
    pen.stroke(globe);
    this.drawScale(pen, style.getPropertyValue("--quiet"));
    for (const mark of this.marks) this.leaveMark(mark);
  }

  // How large which magnitude is, in the lower right corner.
  drawScale(pen, ink) {
    pen.strokeStyle = ink;
    pen.fillStyle = ink;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    let [x, y] = [this.middle[0] * 2 - 4, this.middle[1] * 2 - 38];
    for (const mag of [6, 5, 4, 3, 2]) {
      const radius = this.radius({ mag });
      const half = Math.max(radius, 5);
      x -= half;
      disc(pen, [x, y - radius], radius);
      pen.stroke();
      pen.fillText(mag, x, y + 16);
      x -= half + 7;
    }
    pen.textAlign = "right";
    pen.fillText("magnitude", x, y + 16);
  }

  // A path along these points, straight in longitude and latitude, and so curved on the map.
  path(points, shift, closed = true) {
    const path = new Path2D();
    const steps = closed ? [...points, points[0]] : points;
    path.moveTo(...this.at(steps[0][0] + shift, steps[0][1]));
    for (let i = 1; i < steps.length; i += 1) {
      const [from, to] = [steps[i - 1], steps[i]];
      const parts = Math.ceil(Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])) / 4);
      for (let part = 1; part <= parts; part += 1) {
        const share = part / parts;
        path.lineTo(...this.at(from[0] + (to[0] - from[0]) * share + shift, from[1] + (to[1] - from[1]) * share));
      }
    }
    return path;
  }

  radius(mark) {
    return size(mark.mag) * Math.max(0.45, (this.scale * WIDTH) / 1000);
  }

  leaveMark(mark) {
    const pen = this.ground.getContext("2d");
    pen.fillStyle = colour(mark.depth, 0.42);
    disc(pen, this.place(mark), Math.max(1, this.radius(mark) * 0.3));
    pen.fill();
  }

  draw(now) {
    this.frame = 0;
    const pen = this.live.getContext("2d");
    pen.clearRect(0, 0, this.live.width, this.live.height);
    this.fading = this.fading.filter((mark) => now - mark.since < FADE);
    for (const mark of this.fading) {
      const age = Math.max(0, now - mark.since);
      const left = (1 - age / FADE) ** 1.6;
      const [at, radius] = [this.place(mark), this.radius(mark)];
      pen.fillStyle = colour(mark.depth, 0.62 * left);
      disc(pen, at, radius);
      pen.fill();
      pen.lineWidth = 1;
      pen.strokeStyle = colour(mark.depth, 0.95 * left);
      pen.stroke();
      if (age < RIPPLE && !CALM) {
        const spread = 1 - (1 - age / RIPPLE) ** 3;
        pen.strokeStyle = colour(mark.depth, 0.8 * (1 - age / RIPPLE));
        disc(pen, at, radius + spread * (6 + radius * 1.6));
        pen.stroke();
      }
    }
    if (this.fading.length > 0) this.frame = requestAnimationFrame((next) => this.draw(next));
  }
}

function disc(pen, [x, y], radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
}
