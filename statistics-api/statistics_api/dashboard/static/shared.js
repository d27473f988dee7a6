// On the page of a share: its token, and the project, zone, device and first range of its view. Elsewhere: null.

export const shared = JSON.parse(document.body.dataset.share ?? "null");
