CREATE TABLE visits (id INT)
