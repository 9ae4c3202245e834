"""What s3.py checks, on a MinIO server: signatures, conditional writes and listings of a second implementation, on disk."""

from harness import minio
from s3 import main

main(minio)
