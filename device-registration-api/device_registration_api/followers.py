"""The followers of the fact tables whose presences are stored after the facts: those with `presence_follows` in the
catalogue.
"""

from collections.abc import Mapping

from device_registration_api.auth_events import commands as auth_events
from device_registration_api.events.following import Follower

FOLLOWERS: Mapping[str, Follower] = {each.fact: each for each in (auth_events.FOLLOWER,)}
