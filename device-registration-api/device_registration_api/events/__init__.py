"""The spine: records the events of every kind. What differs is an `EventTable`; nothing here knows one of them."""
