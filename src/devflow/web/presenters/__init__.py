"""What pages show, made of what selectors give: no queries, no markup."""
