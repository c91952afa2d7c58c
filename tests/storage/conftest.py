"""The object storage of these tests."""

from objectstore import bucket, s3, s3_server

__all__ = ["bucket", "s3", "s3_server"]
