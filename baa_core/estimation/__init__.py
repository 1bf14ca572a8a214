"""The networks' outputs become months, a sex probability and an interval."""
