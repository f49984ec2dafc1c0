"""The second door: grpcio's public asyncio server, for a grpcio whose C core is another one."""
