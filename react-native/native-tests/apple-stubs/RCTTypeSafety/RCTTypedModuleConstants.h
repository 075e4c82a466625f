// Empty: the generated header of the module imports it and uses nothing of it.
