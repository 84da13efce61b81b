-- steadytext_validate_endpoint and steadytext_validate_table_name: what may be reached, and what may be named.
BEGIN;
SELECT no_plan();

-- ---- hosts -----------------------------------------------------------------------------------------------------------
SELECT ok(steadytext_validate_endpoint(host, 5555), host || ' may be reached')
FROM unnest(ARRAY['localhost', 'LOCALHOST', '127.0.0.1', '127.1', '10.0.0.1', '172.16.0.1', '192.168.1.10', '8.8.8.8', '100.64.0.1', '::1', 'fd12:3456::1',
    '2001:db8::1', '::ffff:10.0.0.1', '64:ff9b::10.0.0.1', 'host', 'host-1.example.com', 'host.example.com.', 'xn--bcher-kva.example', '1host.example',
    '169-254-169-254.example', repeat('a', 63), repeat(repeat('a', 62) || '.', 4) || 'b']) host;

-- The same address in all notations the C library reads, link-local and metadata addresses, and what is no host at all.
SELECT ok(NOT steadytext_validate_endpoint(host, 5555), left(quote_literal(host), 60) || ' is refused')
FROM unnest(ARRAY['169.254.169.254', '169.254.0.1', '169.254.255.255', '2852039166', '0xA9FEA9FE', '0xa9fea9fe', '025177524776', '0xA9.0xFE.0xA9.0xFE',
    '0251.0376.0251.0376', '169.254.43518', '169.16689662', '0xa9.254.169.254', '0251.254.0xa9.254', '00000251.0376.0251.0376', '0x00a9.254.169.254',
    '169.254.169.254.', '0xa9.0xfe.0xa9.0xfe.', '0xA9FEA9FE.',
    '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '::FFFF:A9FE:A9FE', '0:0:0:0:0:ffff:a9fe:a9fe', '::169.254.169.254', '::a9fe:a9fe',
    '::ffff:0:169.254.169.254', '64:ff9b::169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1', '2001:0:1234::5601:5601', '2001:db8::5efe:169.254.169.254',
    '2001:db8::200:5efe:a9fe:a9fe', 'fe80::1', 'FE80::1', 'fe80::a9fe:a9fe', 'febf::1', 'fe80::1%eth0', '::1%lo', 'fd00:ec2::254', 'fd00:0ec2:0:0:0:0:0:0254',
    'fd00:ec2::23', 'fd20:ce::254', '100.100.100.200', '0x646464c8', '168.63.129.16', '192.0.0.192', '::ffff:168.63.129.16', '::ffff:100.100.100.200',
    'metadata', 'metadata.google.internal', 'METADATA.Google.Internal.', 'metadata.goog', 'instance-data', 'instance-data.ec2.internal',
    'metadata.azure.internal', 'metadata.tencentyun.com',
    '0.0.0.0', '0', '0x0', '0.1.2.3', '224.0.0.1', '239.255.255.255', '255.255.255.255', '4294967295', '4294967296', '::', 'ff02::1', 'ff0e::1',
    '256.0.0.1', '1.2.3.4.5', '1.2.3.', '.1.2.3', '1..2', '08.1.1.1', '1.2.3.0x', '0x', '99999999999999999999', '1.2.3.256', '1.256.1', '-1',
    '', ' ', ' localhost', 'localhost ', E'localhost\n', E'local\thost', 'local host', 'host_name', '-host', 'host-', 'a..b', '.', '..', '.host', 'host..',
    repeat('a', 64), repeat(repeat('a', 63) || '.', 4), repeat('a.', 127), 'host:80', 'tcp://host', 'user@host', 'host/path', 'host?x', 'host#x', 'h%6fst', 'höst',
    '１６９.254.169.254', '169。254。169。254', '[::1]', '::1]', '[::ffff:169.254.169.254]', '1::2::3', ':::', '12345::', '::1.2.3', '::g', 'host'';--', '$(id)', '`id`',
    'a;b', 'a|b', 'a&b']) host;

SELECT ok(steadytext_validate_endpoint('127.0.0.1', port), 'port ' || port) FROM unnest(ARRAY[1024, 1025, 5555, 65534, 65535]) port;
SELECT ok(NOT steadytext_validate_endpoint('127.0.0.1', port), 'not port ' || port)
FROM unnest(ARRAY[-2147483648, -1, 0, 22, 80, 443, 1023, 65536, 65537, 2147483647]) port;
SELECT is(steadytext_validate_endpoint(NULL, 5555), false, 'false, not NULL, without a host');
SELECT is(steadytext_validate_endpoint('127.0.0.1', NULL), false, 'or a port');

-- ---- names of tables -------------------------------------------------------------------------------------------------
SELECT ok(steadytext_validate_table_name(name), quote_literal(name) || ' is a name')
FROM unnest(ARRAY['t', 'T', '_t', 'my_table', 'MyTable2', 'my_schema.my_table', 'public.t', 'pgtable', 'pg', 'information', 'steadytext_cache', 'name', 'value',
    'index', repeat('a', 63), repeat('a', 63) || '.' || repeat('b', 63)]) name;
SELECT ok(NOT steadytext_validate_table_name(name), left(quote_literal(name), 60) || ' is none')
FROM unnest(ARRAY['', ' ', '.', 't.', '.t', 'a.b.c', 'a..b', '1t', 't-1', 't 1', ' t', 't ', E't\n', E'\tt', 't$', 'tä', 'т', '"t"', '"a.b"', '''t''', 't;', 't;--', 't--',
    't/**/', 'a.b;DROP TABLE c', 't'' OR ''1''=''1', 't) UNION SELECT', 't\', 't%', 't*', 't(', 't,u', '$t', '@t', ':t', repeat('a', 64), 'a.' || repeat('b', 64),
    repeat('a', 64) || '.b', 'pg_class', 'PG_class', 'Pg_Temp.t', 'pg_catalog.pg_class', 'pg_toast.t', 'public.pg_x', 'information_schema.tables',
    'INFORMATION_SCHEMA.t', 'information_schema', 'information_schema_x.t', 'public.information_schema']) name;
SELECT is_empty($$SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T') AND (steadytext_validate_table_name(word)
                  OR steadytext_validate_table_name(upper(word)) OR steadytext_validate_table_name('public.' || word) OR steadytext_validate_table_name(word || '.t'))$$,
    'no reserved word is a name');
SELECT is_empty($$SELECT word FROM pg_get_keywords() WHERE catcode IN ('U', 'C') AND NOT steadytext_validate_table_name(word)$$, 'other key words are');
SELECT is(steadytext_validate_table_name(NULL), false, 'false, not NULL, without a name');
-- What passes can stand in SQL as it is: quoting changes nothing but for capitals.
SELECT is(quote_ident(lower(name)), lower(name), name || ' needs no quotes') FROM unnest(ARRAY['t', 'MyTable2', '_x', 'steadytext_cache']) name
WHERE steadytext_validate_table_name(name);

SELECT * FROM finish();
ROLLBACK;
