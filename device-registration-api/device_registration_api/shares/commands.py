"""Makes, lists and deletes shares. Callers own the transaction, and have locked the project."""

from datetime import datetime
from uuid import UUID, uuid4

from contract.shares import PAGE_PREFIX, SHARES_MAX, Share, ShareDraft, ShareWithToken, new_token, token_digest
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, Invalid, NotFound

SHOWN_ONCE = "Keep this token now: it is not stored, and cannot be shown again. Whoever has it sees the view."

INSERT = """
    INSERT INTO share (project_id, share_id, digest, shown_view, device_id, first_range, frame_ancestors, created_at,
                       expires_at)
    VALUES (%(project_id)s, %(id)s::uuid, %(digest)s, %(view)s, %(device_id)s, %(range)s, %(frame_ancestors)s,
            %(created_at)s, %(expires_at)s)
"""
LIST = """
    SELECT share_id::text, shown_view, device_id, first_range, frame_ancestors, created_at, expires_at
      FROM share
     WHERE project_id = %(project_id)s
     ORDER BY created_at, share_id
"""
DELETE = "DELETE FROM share WHERE project_id = %(project_id)s AND share_id = %(share_id)s::uuid"
DELETE_EXPIRED = "DELETE FROM share WHERE project_id = %(project_id)s AND expires_at <= %(now)s"


def create_share(conn: Connection, project_id: int, draft: ShareDraft, now: datetime) -> ShareWithToken:
    """Store a share, and return it with its token, which is nowhere else. Expired ones are removed.

    Raises:
        Conflict: the project has as many as are allowed.
        Invalid: it would have expired already.
    """
    if draft.expires_at is not None and draft.expires_at <= now:
        raise Invalid.single("must be in the future: the share would have expired already", "body", "expires_at")
    execute(conn, DELETE_EXPIRED, {"project_id": project_id, "now": now})
    if len(list_shares(conn, project_id)) >= SHARES_MAX:
        raise Conflict(f"a project has at most {SHARES_MAX} shares")
    token = new_token()
    share = Share(id=uuid4(), created_at=now, **draft.model_dump())
    stored = share.model_dump() | {"id": str(share.id), "project_id": project_id, "digest": token_digest(token)}
    execute(conn, INSERT, stored)
    return ShareWithToken(**share.model_dump(), token=token, path=PAGE_PREFIX + token, warning=SHOWN_ONCE)


def list_shares(conn: Connection, project_id: int) -> list[Share]:
    """Return the shares of a project, expired ones too, the oldest first."""
    return fetch_all(conn, LIST, {"project_id": project_id}, _share)


def delete_share(conn: Connection, project_id: int, share_id: UUID) -> None:
    """End a share, everywhere at once. Raises NotFound."""
    if not execute(conn, DELETE, {"project_id": project_id, "share_id": str(share_id)}):
        raise NotFound("Share not found: the project has no share with this id")


def _share(*values: object) -> Share:
    names = ("id", "view", "device_id", "range", "frame_ancestors", "created_at", "expires_at")
    return Share.model_validate(dict(zip(names, values, strict=True)))
