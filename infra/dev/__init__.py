"""Real parts for laptops and tests: an Apache Kafka broker that needs no set-up."""
