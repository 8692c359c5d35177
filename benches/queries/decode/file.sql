-- Files that `weir-bench decode` makes.
CREATE SOURCE input (${COLUMNS}) WITH (connector = 'file', path = '${DATA}/${TABLE}-*.${FORMAT}', format = '${FORMAT}');
