"""What a browser on this machine is served; nothing here is reachable from another one."""
