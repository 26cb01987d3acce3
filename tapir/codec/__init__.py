"""What an outside document defines: one module a format, bytes in and values out. Pure."""
