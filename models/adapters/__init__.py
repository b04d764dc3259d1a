"""Networks of other libraries behind the contract of this shelf."""
