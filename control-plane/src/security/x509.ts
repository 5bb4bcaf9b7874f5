import type * as X509 from '@peculiar/x509';

/** The certificate library, loaded when something is to be signed: it costs some 18 MB that an idle process need not hold. */
export async function loadX509(): Promise<typeof X509> {
  // the library registers its parts through it when it is loaded
  await import('reflect-metadata');
  return await import('@peculiar/x509');
}
