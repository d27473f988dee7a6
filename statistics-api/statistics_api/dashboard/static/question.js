// Nothing is changed without a confirmation in words. The page has the dialog of question.html.

import { setText } from "./page.js";

const byId = (id) => document.getElementById(id);

/**
 * Ask a question, and make the change if it is confirmed; return whether it was made. `fields` are elements between the
 * text and the buttons. A refusal is shown in the dialog, which stays open: the change may be confirmed again.
 */
export function confirmed(heading, text, yes, fields, change) {
  const dialog = byId("question");
  setText(byId("question-heading"), heading);
  setText(byId("question-text"), text);
  setText(byId("question-yes"), yes);
  setText(byId("question-failure"), "");
  byId("question-fields").replaceChildren(...fields);
  byId("question-yes").disabled = false;
  dialog.returnValue = "";
  const opener = document.activeElement;
  return new Promise((resolve) => {
    dialog.querySelector("form").onsubmit = async (event) => {
      event.preventDefault();
      byId("question-yes").disabled = true;
      setText(byId("question-failure"), "");
      try {
        await change();
        dialog.close("done");
      } catch (failure) {
        setText(byId("question-failure"), failure.inWords ?? "This page has made a mistake. Please load it again.");
        byId("question-yes").disabled = false;
      }
    };
    byId("question-no").onclick = () => dialog.close();
    dialog.onclose = () => {
      // It may name a person.
      setText(byId("question-text"), "");
      byId("question-fields").replaceChildren();
      opener?.focus();
      resolve(dialog.returnValue === "done");
    };
    dialog.showModal();
  });
}
