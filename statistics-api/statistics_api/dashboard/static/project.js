// Which project a screen shows. An account may have several, and its choice is in the URL; an API key has one.

import { get } from "./api.js";
import { element, sessions, setText } from "./page.js";
import { shared } from "./shared.js";

const PARAMETER = "project";

/** The place in the page that names the project; dispatches "change" when another one is to be shown. */
export class ProjectPicker extends EventTarget {
  constructor(place) {
    super();
    this.place = place;
    this.isAccount = sessions().includes("account");
    this.projects = shared && [shared];
    this.select = null;
  }

  /** The key of the project, or null for an account without any. */
  async current(signal) {
    if (this.projects === null) {
      await this.#read(signal);
    }
    if (!this.isAccount) {
      return this.projects[0].project_key;
    }
    const asked = new URLSearchParams(location.search).get(PARAMETER) ?? this.projects[0]?.project_key ?? null;
    if (asked !== null) {
      this.#offer(asked);
    }
    return asked;
  }

  async #read(signal) {
    if (this.isAccount) {
      this.projects = (await get("/api/v1/projects", { signal })).body;
      return;
    }
    const { body } = await get("/dashboard/session/project", { signal });
    this.projects = [body];
    setText(this.place, `The project of your API key: ${body.name} (${body.project_key})`);
  }

  // A link may name a project that this account does not see: then it is in the list, and the API says that it is not found.
  #offer(asked) {
    if (this.select === null) {
      this.select = element("select", { name: PARAMETER }, ...this.projects.map(({ name, project_key: key }) => (
        element("option", { value: key, text: `${name} (${key})` }))));
      this.select.addEventListener("change", () => this.#onChange());
      this.place.replaceChildren(element("label", { text: "Project " }, this.select));
    }
    if (![...this.select.options].some((each) => each.value === asked)) {
      this.select.append(element("option", { value: asked, text: asked }));
    }
    this.select.value = asked;
  }

  #onChange() {
    const query = new URLSearchParams(location.search);
    query.set(PARAMETER, this.select.value);
    history.pushState(null, "", `?${query}`);
    this.dispatchEvent(new Event("change"));
  }
}
