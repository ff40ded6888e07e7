"""Version 1: one router for each subject. Views translate between HTTP and the services and selectors of `apps`."""
