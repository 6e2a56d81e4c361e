"""Everything that runs around leadstream: local parts for laptops and tests, images, dashboards."""
