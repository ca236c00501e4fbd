export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
mkdir -p r/d && echo 1 >r/f && echo 2 >r/d/g && ln -s f r/l && chmod 640 r/f && tar --format=pax -cf a.tar -C r . && rm -r r
